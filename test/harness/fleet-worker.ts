import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { type EncodedKeyPair, generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { Hive } from './hive.ts'

export interface FleetWorker extends ReplyOf<typeof protocol.enrolWorker> {
  /** Answers the body of success, or else the code of the refusal. */
  send(path: string, body?: unknown): Promise<{ refused?: string; body: unknown }>
}

/** A worker that enrolled with this token, as a pod does. */
export async function enrolFleetWorker(
  hive: Hive,
  enrolmentToken: string,
  pair: EncodedKeyPair = generateEncodedKeyPair(),
): Promise<FleetWorker> {
  const body = { enrolmentToken, name: 'pod', publicKey: pair.publicKey }
  const enrolled = (await hive.call(protocol.enrolWorker, { body })).body
  return {
    ...enrolled,
    async send(path, sent) {
      const payload = sent === undefined ? '' : JSON.stringify(sent)
      const headers = signRequest({
        ...{ method: 'POST', target: path, body: Buffer.from(payload) },
        ...{ keyId: enrolled.workerId, key: importPrivateKey(pair) },
        createdSeconds: Math.floor(hive.clock.now() / 1000),
        nonce: hive.ctx.random.token(16),
      })
      const type = payload === '' ? {} : { 'content-type': 'application/json' }
      const reply = await hive.inject({ method: 'POST', url: path, payload, headers: { ...type, ...headers } })
      const answer = reply.body === '' ? undefined : reply.json()
      return reply.statusCode < 300 ? { body: answer } : { refused: answer.code, body: undefined }
    },
  }
}

/** Asks for one job, in the name of a pool. */
export async function claim(worker: FleetWorker, pool = 'default') {
  const isolation = { level: 'full', layers: [], reason: null }
  const report = { version: '0.1.0', labels: [], kinds: ['compute'], slots: 1, isolation, pool }
  const { refused, body } = await worker.send(protocol.claimJobs.path, { report, freeSlots: 1, waitSeconds: 0 })
  const answer = (body ?? { jobs: [], draining: false }) as ReplyOf<typeof protocol.claimJobs>
  return { ...answer, refused }
}

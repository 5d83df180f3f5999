import { randomBytes } from 'node:crypto'
import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import {
  type Claim,
  claimJobs,
  completeLeases,
  enrolWorker,
  heartbeat,
  startLeases,
} from '@hivesync/contracts/worker-protocol.ts'
import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair, importPrivateKey, type SignatureKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import { createGatherer } from '../worker/report/gather.ts'
import { type Client, openClient, readAnswer } from './connection.ts'
import type { Api } from './server.ts'

export interface RemoteWorker {
  /** Finishes what it holds and ends. Throws what went wrong on the way, if anything did. */
  stop(): Promise<void>
}

const waitSeconds = 2
const heartbeatMs = 5000

/**
 * Enrols a worker and lets it work until stopped: long poll, starts and completions, those of one moment gathered by the agent's own gatherer, heartbeats, all
 * signed as the real agent sends them, but nothing is run. `onEnd` hears of each job once the server has accepted its completion.
 */
export async function startRemoteWorker(
  url: string,
  api: Api,
  slots: number,
  onEnd: (jobId: string) => void,
  onFailure: (error: unknown) => void,
): Promise<RemoteWorker> {
  const client = openClient(url)
  const call = await enrol(client, api)
  const report = reportOf(slots)
  const held = new Set<number>()
  let freed = Promise.withResolvers<void>()
  let stopping = false
  let failure: { error: unknown } | undefined
  const fail = (error: unknown): void => {
    failure ??= { error }
    stopping = true
    onFailure(error)
  }

  const { start, complete } = gathered(call)
  async function work({ token, jobId }: Claim): Promise<void> {
    try {
      await start(token)
      await complete(token)
      onEnd(jobId)
    } catch (error) {
      fail(error)
    }
    held.delete(token)
    freed.resolve()
    freed = Promise.withResolvers()
  }

  async function poll(): Promise<void> {
    while (!stopping) {
      const freeSlots = slots - held.size
      if (freeSlots === 0) {
        await freed.promise
        continue
      }
      const { jobs } = await call<{ jobs: Claim[] }>(claimJobs.path, claimJobs.status, {
        report,
        freeSlots,
        waitSeconds,
      })
      for (const claim of jobs) {
        held.add(claim.token)
        void work(claim)
      }
    }
  }
  const beating = setInterval(() => {
    call(heartbeat.path, heartbeat.status, { leases: [...held] }).catch(fail)
  }, heartbeatMs)
  const polling = poll().catch(fail)

  return {
    async stop() {
      stopping = true
      await polling
      while (held.size > 0) await freed.promise
      clearInterval(beating)
      client.close()
      if (failure !== undefined) throw failure.error
    },
  }
}

/** Starts and completions as `worker/report/lease-calls.ts` sends them, one alone as a batch of one; throws at what the server refuses. */
function gathered(call: SignedCall): Record<'start' | 'complete', (token: number) => Promise<void>> {
  const batched = (most: number, send: (tokens: number[]) => Promise<(Error | true)[]>) => {
    const add = createGatherer<number, true>({ most, one: async (token) => settled(await send([token])), many: send })
    return async (token: number): Promise<void> => void (await add(token))
  }
  return {
    start: batched(1024, async (tokens) => {
      const { leases } = await call<ReplyOf<typeof startLeases>>(startLeases.path, startLeases.status, { tokens })
      return leases.map((lease) => lease.verdict === 'ok' || new Error(`not started: ${JSON.stringify(lease)}`))
    }),
    complete: batched(64, async (tokens) => {
      const body = { completions: tokens.map((token) => ({ token, outcome: 'succeeded', result: { exitCode: 0 } })) }
      const path = completeLeases.path
      const { completions } = await call<ReplyOf<typeof completeLeases>>(path, completeLeases.status, body)
      return completions.map((end) => 'state' in end || new Error(`not completed: ${JSON.stringify(end)}`))
    }),
  }
}

function settled([answer]: (Error | true)[]): true {
  if (answer !== true) throw answer ?? new Error('no answer to an item')
  return answer
}

/** A request signed as the agent signs it; throws unless the answer has the status. */
export type SignedCall = <T>(path: string, status: number, body?: unknown, params?: { token: string }) => Promise<T>

/** Enrols a worker and answers its voice. */
export async function enrol(client: Client, api: Api): Promise<SignedCall> {
  const pair = generateEncodedKeyPair()
  const enrolment = await api.call<{ enrolmentToken: string }>('POST', createEnrolment.path, {}, createEnrolment.status)
  const body = { enrolmentToken: enrolment.enrolmentToken, name: 'bench', publicKey: pair.publicKey }
  const { workerId } = await api.call<{ workerId: string }>('POST', enrolWorker.path, body, enrolWorker.status)
  return signedCalls(client, workerId, importPrivateKey(pair))
}

/** What a worker that runs nothing says of itself. */
export function reportOf(slots: number): WorkerReport {
  return {
    ...{ version: '0.1.0', labels: [], kinds: ['compute'], slots },
    isolation: { level: 'full', layers: [], reason: null },
  }
}

export function signedCalls(client: Client, keyId: string, key: SignatureKey): SignedCall {
  return async <T>(path: string, status: number, body?: unknown, params?: { token: string }): Promise<T> => {
    const target = params === undefined ? path : path.replace(':token', params.token)
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
    const signed = signRequest({
      ...{ method: 'POST', target, body: bytes, keyId, key },
      createdSeconds: Math.floor(Date.now() / 1000),
      nonce: randomBytes(16).toString('base64url'),
    })
    const type: Record<string, string> = bytes.length === 0 ? {} : { 'content-type': 'application/json' }
    const answer = await client.send({ method: 'POST', target, headers: { ...type, ...signed }, body: bytes })
    return readAnswer<T>(answer, status)
  }
}

// A worker that signs any text: what the agent would never send must be refused for what it is, not for its signature.
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { Hive } from '../harness/hive.ts'

export type SendSigned = (
  method: Endpoint['method'],
  target: string,
  body: string,
) => Promise<Awaited<ReturnType<Hive['inject']>>>

/** Enrols a worker; the function returned sends a body as it is, with a signature that is right for it. */
export async function enrolSender(hive: Hive): Promise<SendSigned> {
  const { token } = await hive.admin()
  const enrolment = await hive.call(workers.createEnrolment, { token, body: {} })
  const { enrolmentToken } = enrolment.body
  const pair = generateEncodedKeyPair()
  const enrolled = await hive.call(protocol.enrolWorker, {
    body: { enrolmentToken, name: 'sender', publicKey: pair.publicKey },
  })
  const key = importPrivateKey(pair)
  const keyId = enrolled.body.workerId
  return async (method, target, text) => {
    const body = Buffer.from(text)
    const createdSeconds = Math.floor(hive.ctx.clock.now() / 1000)
    const nonce = hive.ctx.random.token(16)
    const signed = signRequest({ method, target, body, keyId, key, createdSeconds, nonce })
    const type = body.length === 0 ? {} : { 'content-type': 'application/json' }
    return hive.inject({ method, url: target, payload: body, headers: { ...type, ...signed } })
  }
}

import type { SignatureKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Transport, WireContent, WireReply, WireRequest } from './http-transport.ts'
import { findProblemCode, ReplyInvalid } from './replies.ts'
import type { ServerTime } from './server-time.ts'

/** The server refused the request; `code` is from the error catalog, or `unknown` when the answer was no problem+json. */
export class CallRefused extends Error {
  readonly status: number
  readonly code: string
  /** The pause the server asks for, in milliseconds. */
  readonly retryAfterMs: number

  constructor(operation: string, status: number, code: string, retryAfterMs: number) {
    super(`${operation} was refused: ${status} ${code}`)
    this.name = 'CallRefused'
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}

export interface CallOptions {
  signal?: AbortSignal | undefined
  timeoutMs?: number
}

export interface Call {
  operation: string
  target: string
  /** A function is asked anew for each sending: for a body that holds a signature by the key of that very moment. */
  body: unknown
  /** Of success: 200, 201 or 204. */
  status: number
  timeoutMs: number
  maxReplyBytes: number
  signal?: AbortSignal | undefined
  /** POST unless given. */
  method?: WireRequest['method']
  /** Sent instead of a JSON body. */
  content?: WireContent & { sha256: string }
  receive?: WireRequest['receive']
  /** Of the job that it is made for: the server logs and audits the call under it. */
  requestId?: string | undefined
}

export interface SigningIdentity {
  workerId: string
  /** Read for each request: it changes when the key is replaced. */
  readonly key: SignatureKey
}

/** Why the server will never again answer this worker: it was cut off, or its key has run out. */
export type CutOff = 'worker_revoked' | 'worker_key_expired'

export interface SenderOptions {
  transport: Transport
  identity: SigningIdentity
  clock: Clock
  time: ServerTime
  random: Random
  onCutOff: (reason: CutOff) => void
  /** The request that the job of a lease came with. */
  requestIdOf?: (token: number) => string | undefined
}

/**
 * Signs every request (RFC 9421) with a nonce of its own, also one that it repeats. It repeats once: a request whose
 * signature the server finds too old or from the future, by the time of that answer, and one that was on its way while the
 * key was replaced.
 */
export function createSignedSender(options: SenderOptions): (call: Call) => Promise<unknown> {
  const { transport, identity, clock, random, time } = options

  async function sendSigned(call: Call): Promise<WireReply> {
    const body = encode(call.body)
    const headers = signRequest({
      method: call.method ?? 'POST',
      target: call.target,
      body: call.content ?? body,
      keyId: identity.workerId,
      key: identity.key,
      createdSeconds: Math.floor(time.signingMs() / 1000),
      nonce: random.nonce(),
    })
    const sentAtMs = clock.monotonicMs()
    const { requestId } = call
    const correlation: Record<string, string> = requestId === undefined ? {} : { 'x-request-id': requestId }
    const reply = await post(transport, call, body, { ...headers, ...correlation })
    time.observe({ sentAtMs, receivedAtMs: clock.monotonicMs(), date: reply.headers.date })
    return reply
  }

  return async (call) => {
    const keyBefore = identity.key
    let reply = await sendSigned(call)
    const code = reply.status === 401 ? findProblemCode(reply.body) : undefined
    const isOvertaken = code === 'signature_invalid' && identity.key !== keyBefore
    if (code === 'signature_expired' || isOvertaken) reply = await sendSigned(call)
    try {
      return readJson(call, reply)
    } catch (error) {
      const isCutOff =
        error instanceof CallRefused && (error.code === 'worker_revoked' || error.code === 'worker_key_expired')
      if (isCutOff) options.onCutOff(error.code as CutOff)
      throw error
    }
  }
}

export function encode(body: unknown): Buffer {
  const content: unknown = typeof body === 'function' ? body() : body
  return content === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(content))
}

export async function post(
  transport: Transport,
  call: Call,
  body: Buffer,
  headers: Record<string, string>,
): Promise<WireReply> {
  const { target, timeoutMs, maxReplyBytes, signal, method = 'POST', content, receive } = call
  const type: Record<string, string> =
    content !== undefined
      ? { 'content-type': 'application/octet-stream' }
      : body.length > 0
        ? { 'content-type': 'application/json' }
        : {}
  const request = { method, target, body: content ?? body, timeoutMs, maxReplyBytes, signal, receive }
  return await transport.send({ ...request, headers: { accept: 'application/json', ...type, ...headers } })
}

/** The JSON of a success, undefined where there is none to be; anything but the agreed status is a refusal, redirects too. */
export function readJson(call: Call, reply: WireReply): unknown {
  if (reply.status !== call.status) {
    const code = reply.status >= 400 ? findProblemCode(reply.body) : undefined
    throw new CallRefused(call.operation, reply.status, code ?? 'unknown', retryAfterMs(reply))
  }
  if (call.status === 204 || call.receive !== undefined) return undefined
  try {
    return JSON.parse(reply.body.toString('utf8'))
  } catch {
    throw new ReplyInvalid(`${call.operation} is not JSON`)
  }
}

function retryAfterMs(reply: WireReply): number {
  const value = reply.headers['retry-after'] ?? ''
  return /^[0-9]{1,4}$/.test(value) ? Number(value) * 1000 : 0
}

import type { BodyOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type * as contract from '@hivesync/contracts/worker-protocol.ts'
import type { SignatureKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Transport, WireReply } from './http-transport.ts'
import {
  findProblemCode,
  ReplyInvalid,
  readClaims,
  readCompletion,
  readEnrolment,
  readHeartbeat,
  readLogAnswer,
} from './replies.ts'

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

/** The worker's side of contracts/worker-protocol.ts. Every call throws CallRefused, ReplyInvalid or ServerAway, or the signal's reason. */
export interface ServerClient {
  claimJobs(body: BodyOf<typeof contract.claimJobs>, options?: CallOptions): Promise<ReplyOf<typeof contract.claimJobs>>
  startLease(token: number, options?: CallOptions): Promise<void>
  reportProgress(token: number, body: BodyOf<typeof contract.reportProgress>, options?: CallOptions): Promise<void>
  appendLog(
    token: number,
    body: BodyOf<typeof contract.appendLog>,
    options?: CallOptions,
  ): Promise<ReplyOf<typeof contract.appendLog>>
  uploadIndex(token: number, body: BodyOf<typeof contract.uploadIndex>, options?: CallOptions): Promise<void>
  completeLease(
    token: number,
    body: BodyOf<typeof contract.completeLease>,
    options?: CallOptions,
  ): Promise<ReplyOf<typeof contract.completeLease>>
  heartbeat(body: BodyOf<typeof contract.heartbeat>, options?: CallOptions): Promise<ReplyOf<typeof contract.heartbeat>>
}

/** The literal types make the compiler compare these with the contracts, which are not loaded at run time (memory, see replies.ts). */
const paths: {
  readonly [Name in keyof typeof contract as (typeof contract)[Name] extends { path: string }
    ? Name
    : never]: (typeof contract)[Name] extends { path: infer Path } ? Path : never
} = {
  enrolWorker: '/api/v1/worker/enrol',
  claimJobs: '/api/v1/worker/claims',
  startLease: '/api/v1/worker/leases/:token/start',
  reportProgress: '/api/v1/worker/leases/:token/progress',
  appendLog: '/api/v1/worker/leases/:token/log',
  uploadIndex: '/api/v1/worker/leases/:token/index',
  completeLease: '/api/v1/worker/leases/:token/complete',
  heartbeat: '/api/v1/worker/heartbeat',
}

const callTimeoutMs = 30_000
/** Beyond the wait a long poll asks for. */
const pollGraceMs = 15_000
const replyBytes = 64 * 1024
/** A job's input is at most 1 MiB (contracts/jobs.ts), and the answer to a poll stays in memory whole. */
const claimBytes = 1_100_000
const maxClaimReplyBytes = 64 * 1024 * 1024

interface Call {
  operation: keyof typeof paths
  target: string
  body: unknown
  /** Of success: 200, 201 or 204. */
  status: number
  timeoutMs: number
  maxReplyBytes: number
  signal?: AbortSignal | undefined
}

export interface SigningIdentity {
  workerId: string
  key: SignatureKey
}

/** Trades the one-time token for a worker id; the only call that is not signed. */
export async function enrolWorker(
  transport: Transport,
  body: BodyOf<typeof contract.enrolWorker>,
  options: CallOptions = {},
): Promise<ReplyOf<typeof contract.enrolWorker>> {
  const call = { ...plan('enrolWorker', paths.enrolWorker, body, 201, options) }
  return readEnrolment(readJson(call, await post(transport, call, encode(body), {})))
}

/**
 * A client that signs every request (RFC 9421) with a nonce of its own, also when it repeats one. When the server finds
 * the signature too old or from the future, its Date header is believed once per call and the request is signed anew.
 * `onRevoked` is told when the server does not know this worker (any more).
 */
export function createServerClient(options: {
  transport: Transport
  identity: SigningIdentity
  clock: Clock
  random: Random
  onRevoked: () => void
}): ServerClient {
  const { transport, identity, clock, random } = options
  let offsetMs = 0

  async function sendSigned(call: Call): Promise<WireReply> {
    const body = encode(call.body)
    const headers = signRequest({
      method: 'POST',
      target: call.target,
      body,
      keyId: identity.workerId,
      key: identity.key,
      createdSeconds: Math.floor((clock.nowMs() + offsetMs) / 1000),
      nonce: random.nonce(),
    })
    return await post(transport, call, body, { ...headers })
  }

  async function send(call: Call): Promise<unknown> {
    const offsetBefore = offsetMs
    let reply = await sendSigned(call)
    if (reply.status === 401 && findProblemCode(reply.body) === 'signature_expired') {
      const serverMs = Date.parse(reply.headers.date ?? '')
      if (!Number.isNaN(serverMs) && offsetMs === offsetBefore) offsetMs = serverMs - clock.nowMs()
      reply = await sendSigned(call)
    }
    try {
      return readJson(call, reply)
    } catch (error) {
      if (error instanceof CallRefused && error.code === 'worker_revoked') options.onRevoked()
      throw error
    }
  }

  const ofLease = (operation: keyof typeof paths, token: number) => paths[operation].replace(':token', String(token))
  return {
    async claimJobs(body, call = {}) {
      const timeoutMs = call.timeoutMs ?? body.waitSeconds * 1000 + pollGraceMs
      const planned = plan('claimJobs', paths.claimJobs, body, 200, { ...call, timeoutMs })
      const maxReplyBytes = Math.min(maxClaimReplyBytes, replyBytes + claimBytes * body.freeSlots)
      return readClaims(await send({ ...planned, maxReplyBytes }))
    },
    async startLease(token, call = {}) {
      await send(plan('startLease', ofLease('startLease', token), undefined, 204, call))
    },
    async reportProgress(token, body, call = {}) {
      await send(plan('reportProgress', ofLease('reportProgress', token), body, 204, call))
    },
    async appendLog(token, body, call = {}) {
      return readLogAnswer(await send(plan('appendLog', ofLease('appendLog', token), body, 200, call)))
    },
    async uploadIndex(token, body, call = {}) {
      await send(plan('uploadIndex', ofLease('uploadIndex', token), body, 204, call))
    },
    async completeLease(token, body, call = {}) {
      return readCompletion(await send(plan('completeLease', ofLease('completeLease', token), body, 200, call)))
    },
    async heartbeat(body, call = {}) {
      return readHeartbeat(await send(plan('heartbeat', paths.heartbeat, body, 200, call)))
    },
  }
}

function plan(
  operation: keyof typeof paths,
  target: string,
  body: unknown,
  status: number,
  options: CallOptions,
): Call {
  const { signal, timeoutMs = callTimeoutMs } = options
  return { operation, target, body, status, timeoutMs, maxReplyBytes: replyBytes, signal }
}

function encode(body: unknown): Buffer {
  return body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body))
}

async function post(
  transport: Transport,
  call: Call,
  body: Buffer,
  headers: Record<string, string>,
): Promise<WireReply> {
  const { target, timeoutMs, maxReplyBytes, signal } = call
  const type: Record<string, string> = body.length > 0 ? { 'content-type': 'application/json' } : {}
  const request = { method: 'POST', target, body, timeoutMs, maxReplyBytes, signal } as const
  return await transport.send({ ...request, headers: { accept: 'application/json', ...type, ...headers } })
}

/** The JSON of a success, undefined where there is none to be; anything but the agreed status is a refusal, redirects too. */
function readJson(call: Call, reply: WireReply): unknown {
  if (reply.status !== call.status) {
    const code = reply.status >= 400 ? findProblemCode(reply.body) : undefined
    throw new CallRefused(call.operation, reply.status, code ?? 'unknown', retryAfterMs(reply))
  }
  if (call.status === 204) return undefined
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

import type * as artifacts from '@hivesync/contracts/artifacts.ts'
import type * as bundles from '@hivesync/contracts/bundles.ts'
import type { BodyOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type * as contract from '@hivesync/contracts/worker-protocol.ts'
import type * as workers from '@hivesync/contracts/workers.ts'
import { type ReceiptBody, signReceipt } from '@hivesync/protocol/receipt.ts'
import type { Transport, WireContent, WireRequest } from './http-transport.ts'
import {
  readClaims,
  readCompletion,
  readCompletions,
  readDeclaredArtifacts,
  readEnrolment,
  readHeartbeat,
  readLogAnswer,
  readStarts,
} from './replies.ts'
import {
  type Call,
  type CallOptions,
  createSignedSender,
  encode,
  post,
  readJson,
  type SenderOptions,
} from './signed-call.ts'

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
  /** At most 1024. */
  startLeases(tokens: number[], options?: CallOptions): Promise<ReplyOf<typeof contract.startLeases>['leases']>
  /** At most 64, a mebibyte together; answered one by one in the order sent. */
  completeLeases(
    completions: BodyOf<typeof contract.completeLeases>['completions'],
    options?: CallOptions,
  ): Promise<ReplyOf<typeof contract.completeLeases>['completions']>
  rotateKey(body: BodyOf<typeof contract.rotateKey>, options?: CallOptions): Promise<void>
  /** Ends this worker for good: nothing it signs is accepted afterwards. */
  signOff(options?: CallOptions): Promise<void>
  heartbeat(body: BodyOf<typeof contract.heartbeat>, options?: CallOptions): Promise<ReplyOf<typeof contract.heartbeat>>
  /** Throws RangeError when this cannot be signed as a receipt; completions are sent with theirs signed. */
  checkReceipt(receipt: Readonly<Record<string, unknown>>): void
  declareArtifacts(
    token: number,
    body: BodyOf<typeof artifacts.declareArtifacts>,
    options?: CallOptions,
  ): Promise<ReplyOf<typeof artifacts.declareArtifacts>>
  /** Sends a declared file's bytes, which `content.open` gives anew for each try. */
  uploadArtifact(
    token: number,
    artifactId: string,
    content: WireContent & { sha256: string },
    options?: CallOptions,
  ): Promise<void>
  /** Hands over the bytes of the job's bundle as they come; what they are is the receiver's to prove. */
  fetchBundle(token: number, receive: NonNullable<WireRequest['receive']>, options?: CallOptions): Promise<void>
}

type Operations = typeof contract &
  Pick<typeof artifacts, 'declareArtifacts' | 'uploadArtifact'> &
  Pick<typeof bundles, 'fetchBundle'> &
  Pick<typeof workers, 'signOff'>

/** The literal types make the compiler compare these with the contracts, which are not loaded at run time (memory, see replies.ts). */
const paths: {
  readonly [Name in keyof Operations as Operations[Name] extends { path: string }
    ? Name
    : never]: Operations[Name] extends { path: infer Path } ? Path : never
} = {
  enrolWorker: '/api/v1/worker/enrol',
  claimJobs: '/api/v1/worker/claims',
  startLease: '/api/v1/worker/leases/:token/start',
  reportProgress: '/api/v1/worker/leases/:token/progress',
  appendLog: '/api/v1/worker/leases/:token/log',
  uploadIndex: '/api/v1/worker/leases/:token/index',
  completeLease: '/api/v1/worker/leases/:token/complete',
  startLeases: '/api/v1/worker/leases/start',
  completeLeases: '/api/v1/worker/leases/complete',
  rotateKey: '/api/v1/worker/rotate-key',
  signOff: '/api/v1/worker/sign-off',
  heartbeat: '/api/v1/worker/heartbeat',
  declareArtifacts: '/api/v1/worker/leases/:token/artifacts',
  uploadArtifact: '/api/v1/worker/leases/:token/artifacts/:artifactId/content',
  fetchBundle: '/api/v1/worker/leases/:token/bundle',
}

const callTimeoutMs = 30_000
/** Beyond the wait a long poll asks for. */
const pollGraceMs = 15_000
const replyBytes = 64 * 1024
/** A job's input is at most 1 MiB (contracts/jobs.ts), and the answer to a poll stays in memory whole. */
const claimBytes = 1_100_000
/** A thousand paths, each named twice. */
const declarationReplyBytes = 4 * 1024 * 1024
const maxClaimReplyBytes = 64 * 1024 * 1024

/** Trades the enrolment token for a worker id; the only call that is not signed. */
export async function enrolWorker(
  transport: Transport,
  body: BodyOf<typeof contract.enrolWorker>,
  options: CallOptions = {},
): Promise<ReplyOf<typeof contract.enrolWorker>> {
  const call = { ...plan('enrolWorker', paths.enrolWorker, body, 201, options) }
  return readEnrolment(readJson(call, await post(transport, call, encode(body), {})))
}

/** The calls of an enrolled worker; each is signed anew, also when it is repeated. */
export function createServerClient(options: SenderOptions): ServerClient {
  const send = createSignedSender(options)
  const ofLease = (operation: keyof typeof paths, token: number) => paths[operation].replace(':token', String(token))
  const requestIdOf = (token: number) => ({ requestId: options.requestIdOf?.(token) })
  const planFor = (token: number, operation: keyof typeof paths, body: unknown, status: number, call: CallOptions) =>
    plan(operation, ofLease(operation, token), body, status, { ...call, ...requestIdOf(token) })
  const sign = (receipt: Readonly<Record<string, unknown>>): Record<string, unknown> => {
    const { workerId, key } = options.identity
    return { ...signReceipt(key, workerId, { ...receipt, workerId } as ReceiptBody) }
  }
  const withSignedReceipt = <Body extends BodyOf<typeof contract.completeLease>>(body: Body): Body =>
    body.receipt === undefined ? body : { ...body, receipt: sign(body.receipt) }
  return {
    async claimJobs(body, call = {}) {
      const timeoutMs = call.timeoutMs ?? body.waitSeconds * 1000 + pollGraceMs
      const planned = plan('claimJobs', paths.claimJobs, body, 200, { ...call, timeoutMs })
      const maxReplyBytes = Math.min(maxClaimReplyBytes, replyBytes + claimBytes * body.freeSlots)
      return readClaims(await send({ ...planned, maxReplyBytes }))
    },
    async startLease(token, call = {}) {
      await send(planFor(token, 'startLease', undefined, 204, call))
    },
    async reportProgress(token, body, call = {}) {
      await send(planFor(token, 'reportProgress', body, 204, call))
    },
    async appendLog(token, body, call = {}) {
      return readLogAnswer(await send(planFor(token, 'appendLog', body, 200, call)))
    },
    async uploadIndex(token, body, call = {}) {
      await send(planFor(token, 'uploadIndex', body, 204, call))
    },
    async completeLease(token, body, call = {}) {
      const signed = () => withSignedReceipt(body)
      return readCompletion(await send(planFor(token, 'completeLease', signed, 200, call)))
    },
    checkReceipt(receipt) {
      sign(receipt)
    },
    async startLeases(tokens, call = {}) {
      return readStarts(await send(plan('startLeases', paths.startLeases, { tokens }, 200, call)), tokens)
    },
    async completeLeases(completions, call = {}) {
      const signed = () => ({ completions: completions.map(withSignedReceipt) })
      const planned = plan('completeLeases', paths.completeLeases, signed, 200, call)
      return readCompletions(await send(planned), completions)
    },
    async rotateKey(body, call = {}) {
      await send(plan('rotateKey', paths.rotateKey, body, 200, call))
    },
    async signOff(call = {}) {
      await send(plan('signOff', paths.signOff, undefined, 204, call))
    },
    async heartbeat(body, call = {}) {
      return readHeartbeat(await send(plan('heartbeat', paths.heartbeat, body, 200, call)))
    },
    async declareArtifacts(token, body, call = {}) {
      const planned = planFor(token, 'declareArtifacts', body, 200, call)
      return readDeclaredArtifacts(await send({ ...planned, maxReplyBytes: declarationReplyBytes }))
    },
    async uploadArtifact(token, artifactId, content, call = {}) {
      const target = ofLease('uploadArtifact', token).replace(':artifactId', artifactId)
      await send({
        ...plan('uploadArtifact', target, undefined, 204, { ...call, ...requestIdOf(token) }),
        method: 'PUT',
        content,
      })
    },
    async fetchBundle(token, receive, call = {}) {
      const planned = planFor(token, 'fetchBundle', undefined, 200, call)
      await send({ ...planned, method: 'GET', receive })
    },
  }
}

function plan(
  operation: keyof typeof paths,
  target: string,
  body: unknown,
  status: number,
  options: CallOptions & Pick<Call, 'requestId'>,
): Call {
  const { signal, timeoutMs = callTimeoutMs, requestId } = options
  return { operation, target, body, status, timeoutMs, maxReplyBytes: replyBytes, signal, requestId }
}

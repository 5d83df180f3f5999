import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Secrets } from './job-kinds.ts'
import { JobFailure, JobKind, Pool } from './jobs.ts'
import { Count, Id, Name, nullable, object, RequestId, Time, TraceParent } from './values.ts'
import { WorkerReport } from './worker-report.ts'

/** A fencing token: grows with every claim and is never reset. */
export const FencingToken = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
export const leaseParams = object({ token: Type.String({ pattern: '^[1-9][0-9]{0,15}$' }) })

const PublicKey = Type.String({
  description: 'Raw Ed25519 public key, base64url',
  pattern: '^[A-Za-z0-9_-]{43}$',
})

export const enrolWorker = endpoint({
  name: 'enrolWorker',
  summary: 'Trade an enrolment token for an identity; the key pair never leaves the worker',
  method: 'POST',
  path: '/api/v1/worker/enrol',
  access: 'public',
  limit: 'auth',
  body: object({
    enrolmentToken: Type.String({ minLength: 1, maxLength: 200 }),
    name: Name,
    publicKey: PublicKey,
  }),
  status: 201,
  reply: object({
    workerId: Id,
    name: Type.String(),
    /** Whether it signs off when it ends (`signOff`), the pool it is bound to (null: the one it reports), whether others need the token too. */
    ephemeral: Type.Boolean(),
    pool: nullable(Pool),
    reusable: Type.Boolean(),
  }),
  errors: ['invalid_enrolment_token'],
})

export const rotateKey = endpoint({
  name: 'rotateKey',
  summary:
    'Replace the worker’s key: signed with the present one, which stays good for ten minutes or until the new one is first used',
  method: 'POST',
  path: '/api/v1/worker/rotate-key',
  access: 'worker',
  limit: 'worker',
  body: object({
    publicKey: PublicKey,
    proof: Type.String({
      description: 'Signature by the new key over worker, present key and new key: protocol/key-rotation.ts',
      pattern: '^[A-Za-z0-9_-]{86}$',
    }),
  }),
  status: 200,
  reply: object({ keyExpiresAt: Time }),
  errors: ['worker_key_refused'],
})

export const Claim = object({
  token: FencingToken,
  jobId: Id,
  projectId: Id,
  kind: JobKind,
  input: Type.Record(Type.String(), Type.Unknown()),
  attempt: Count,
  leaseTtlSeconds: Type.Integer(),
  startWithinSeconds: Type.Integer(),
  /** The request that the job came with, and the trace of whoever sent it: for the worker's log, and its requests for this lease. */
  requestId: Type.Optional(RequestId),
  traceParent: Type.Optional(TraceParent),
  /** Values of the secrets that the input names. */
  secrets: Type.Optional(Secrets),
  /** The archive that the input names; fetched with the lease. */
  bundle: Type.Optional(
    object({
      id: Id,
      bytes: Count,
      unpackedBytes: Count,
      entries: Count,
      sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    }),
  ),
  /** What the job's steps with a network may reach. */
  egress: Type.Optional(
    object({
      hosts: Type.Array(Type.String({ maxLength: 260 }), { maxItems: 100 }),
      maxBytes: Count,
      maxSeconds: Count,
    }),
  ),
})
export type Claim = Static<typeof Claim>

export const claimJobs = endpoint({
  name: 'claimJobs',
  summary: 'Long poll for work: answers as soon as there is any, or with nothing after waitSeconds',
  method: 'POST',
  path: '/api/v1/worker/claims',
  access: 'worker',
  limit: 'worker',
  body: object({
    report: WorkerReport,
    freeSlots: Type.Integer({ minimum: 1, maximum: 1024 }),
    waitSeconds: Type.Integer({ minimum: 0, maximum: 30 }),
  }),
  status: 200,
  reply: object({
    jobs: Type.Array(Claim),
    draining: Type.Boolean(),
    /** The worker's key is due to be replaced: see `rotateKey`. */
    rotateKey: Type.Optional(Type.Boolean()),
  }),
  errors: [],
})

export const startLease = endpoint({
  name: 'startLease',
  summary: 'Say that the work begins; a lease not started in time returns to the queue without costing an attempt',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/start',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  status: 204,
  reply: null,
  errors: ['lease_lost'],
})

export const startLeases = endpoint({
  name: 'startLeases',
  summary: 'Start many leases at once; answers for each whether it is held',
  method: 'POST',
  path: '/api/v1/worker/leases/start',
  access: 'worker',
  limit: 'worker',
  body: object({ tokens: Type.Array(FencingToken, { minItems: 1, maxItems: 1024, uniqueItems: true }) }),
  status: 200,
  reply: object({ leases: Type.Array(object({ token: FencingToken, verdict: Type.Enum(['ok', 'lost']) })) }),
  errors: [],
})

export const reportProgress = endpoint({
  name: 'reportProgress',
  summary: 'Phase, percent and message of a held lease',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/progress',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object({
    phase: Type.String({ pattern: '^[a-z][a-z-]{0,39}$' }),
    progress: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
    message: Type.Optional(Type.String({ maxLength: 300 })),
  }),
  status: 204,
  reply: null,
  errors: ['lease_lost'],
})

/**
 * `startByte` and `endByte` say which bytes of what the job printed to this stream the text stands for, counted before anything was cut out or
 * dropped: each chunk begins where the last of its stream in the attempt ended. One without text is a gap: these bytes were dropped.
 */
export const LogChunk = object({
  seq: Count,
  stream: Type.Enum(['stdout', 'stderr', 'system']),
  at: Count,
  text: Type.String({ maxLength: 16_384 }),
  startByte: Type.Optional(Count),
  endByte: Type.Optional(Count),
})
export type LogChunk = Static<typeof LogChunk>

export const appendLog = endpoint({
  name: 'appendLog',
  summary: 'Append log chunks; sent again they are stored once. Answers with the next sequence number wanted',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/log',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object({ chunks: Type.Array(LogChunk, { minItems: 1, maxItems: 200 }) }),
  maxBodyBytes: 4 * 1024 * 1024,
  status: 200,
  reply: object({ nextSeq: Count, truncated: Type.Boolean() }),
  errors: ['lease_lost'],
})

export const IndexedFile = object({
  path: Type.String({ minLength: 1, maxLength: 4096 }),
  language: Type.Union([Type.String({ maxLength: 40 }), Type.Null()]),
  text: Type.String({ maxLength: 2 * 1024 * 1024 }),
})
export type IndexedFile = Static<typeof IndexedFile>

export const uploadIndex = endpoint({
  name: 'uploadIndex',
  summary:
    'Hand over a batch of text files for the search index of the project; they are served once the job completes',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/index',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object({ batch: Count, files: Type.Array(IndexedFile, { minItems: 1, maxItems: 5000 }) }),
  maxBodyBytes: 16 * 1024 * 1024,
  status: 204,
  reply: null,
  errors: ['lease_lost'],
})

const completion = {
  outcome: Type.Enum(['succeeded', 'failed', 'canceled', 'returned']),
  result: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  error: Type.Optional(JobFailure),
  /** The machine, not the work, failed: retried from the infrastructure budget. */
  infrastructure: Type.Optional(Type.Boolean()),
  receipt: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  /** Destinations that the worker's network filter refused, and how often; a name is empty where the request named none. */
  egressRefused: Type.Optional(
    Type.Array(
      object({
        host: Type.String({ maxLength: 253, pattern: '^[a-z0-9_.:-]*$' }),
        port: Type.Integer({ minimum: 0, maximum: 65_535 }),
        reason: Type.String({ pattern: '^[a-z][a-z_-]{0,39}$' }),
        count: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
      }),
      { maxItems: 20 },
    ),
  ),
}
/** What one completion may weigh as JSON. */
export const maxCompletionBytes = 256 * 1024

export const completeLease = endpoint({
  name: 'completeLease',
  summary:
    'End the attempt. Accepted once; the same completion sent again is answered alike; a stale one changes nothing (409)',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/complete',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object(completion),
  maxBodyBytes: maxCompletionBytes,
  status: 200,
  reply: object({ jobId: Id, state: Type.String() }),
  errors: ['lease_lost', 'receipt_invalid'],
})

export const completeLeases = endpoint({
  name: 'completeLeases',
  summary:
    'End many attempts at once, each as `completeLease` would; answers each with its state, or with the code of its refusal, in the order sent',
  method: 'POST',
  path: '/api/v1/worker/leases/complete',
  access: 'worker',
  limit: 'worker',
  body: object({
    completions: Type.Array(object({ token: FencingToken, ...completion }), { minItems: 1, maxItems: 64 }),
  }),
  maxBodyBytes: 1024 * 1024,
  status: 200,
  reply: object({
    completions: Type.Array(
      Type.Union([
        object({ token: FencingToken, jobId: Id, state: Type.String() }),
        object({ token: FencingToken, code: Type.String() }),
      ]),
    ),
  }),
  errors: [],
})

export const heartbeat = endpoint({
  name: 'heartbeat',
  summary: 'One call per worker for all it holds; answers per lease whether to go on, to cancel, or that it is lost',
  method: 'POST',
  path: '/api/v1/worker/heartbeat',
  access: 'worker',
  limit: 'worker',
  body: object({
    leases: Type.Array(FencingToken, { maxItems: 1024, uniqueItems: true }),
    /**
     * Holds the answer back until there is something to say that this worker was not told yet, or for this long: a cancel reaches it at once. A newer beat of
     * the same worker ends the older.
     */
    waitSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
  }),
  status: 200,
  reply: object({
    leases: Type.Array(object({ token: FencingToken, verdict: Type.Enum(['ok', 'cancel', 'lost']) })),
    draining: Type.Boolean(),
    /** When to beat again; 0 to one that may be held, which is followed by the next at once: what it told is no news to that one. */
    nextSeconds: Type.Integer(),
  }),
  errors: [],
})

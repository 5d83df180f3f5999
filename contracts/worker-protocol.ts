import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { JobFailure, JobKind, Labels } from './jobs.ts'
import { Count, Id, Name, object } from './values.ts'
import { Isolation } from './workers.ts'

/** A fencing token: grows with every claim and is never reset. */
export const FencingToken = Type.Integer({ minimum: 1 })
const leaseParams = object({ token: Type.String({ pattern: '^[1-9][0-9]{0,15}$' }) })

export const WorkerReport = object({
  version: Type.String({ maxLength: 40 }),
  labels: Labels,
  kinds: Type.Array(JobKind, { maxItems: 10, uniqueItems: true }),
  slots: Type.Integer({ minimum: 1, maximum: 1024 }),
  isolation: Isolation,
})
export type WorkerReport = Static<typeof WorkerReport>

export const enrolWorker = endpoint({
  name: 'enrolWorker',
  summary: 'Trade a one-time enrolment token for an identity; the key pair never leaves the worker',
  method: 'POST',
  path: '/api/v1/worker/enrol',
  access: 'public',
  limit: 'auth',
  body: object({
    enrolmentToken: Type.String({ minLength: 1, maxLength: 200 }),
    name: Name,
    publicKey: Type.String({ description: 'Raw Ed25519 public key, base64url', pattern: '^[A-Za-z0-9_-]{43}$' }),
  }),
  status: 201,
  reply: object({ workerId: Id, name: Type.String() }),
  errors: ['invalid_enrolment_token'],
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
  reply: object({ jobs: Type.Array(Claim), draining: Type.Boolean() }),
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

export const LogChunk = object({
  seq: Count,
  stream: Type.Enum(['stdout', 'stderr', 'system']),
  at: Count,
  text: Type.String({ maxLength: 16_384 }),
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

export const completeLease = endpoint({
  name: 'completeLease',
  summary:
    'End the attempt. Accepted once; the same completion sent again is answered alike; a stale one changes nothing (409)',
  method: 'POST',
  path: '/api/v1/worker/leases/:token/complete',
  access: 'worker',
  limit: 'worker',
  params: leaseParams,
  body: object({
    outcome: Type.Enum(['succeeded', 'failed', 'canceled', 'returned']),
    result: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    error: Type.Optional(JobFailure),
    /** The machine, not the work, failed: retried from the infrastructure budget. */
    infrastructure: Type.Optional(Type.Boolean()),
    receipt: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
  maxBodyBytes: 256 * 1024,
  status: 200,
  reply: object({ jobId: Id, state: Type.String() }),
  errors: ['lease_lost'],
})

export const heartbeat = endpoint({
  name: 'heartbeat',
  summary: 'One call per worker for all it holds; answers per lease whether to go on, to cancel, or that it is lost',
  method: 'POST',
  path: '/api/v1/worker/heartbeat',
  access: 'worker',
  limit: 'worker',
  body: object({ leases: Type.Array(FencingToken, { maxItems: 1024, uniqueItems: true }) }),
  status: 200,
  reply: object({
    leases: Type.Array(object({ token: FencingToken, verdict: Type.Enum(['ok', 'cancel', 'lost']) })),
    draining: Type.Boolean(),
    nextSeconds: Type.Integer(),
  }),
  errors: [],
})

import type { Generated } from 'kysely'
import type { AuditSchema } from './schema-audit.ts'
import type { IdentitySchema } from './schema-identity.ts'
import type { OversightSchema } from './schema-oversight.ts'
import type { WebhookSchema } from './schema-webhooks.ts'

/** The tables as TypeScript sees them (camelCase through CamelCasePlugin); the SQL in migrations/ is the source. Times are epoch milliseconds. */
export interface Schema extends AuditSchema, IdentitySchema, OversightSchema, WebhookSchema {
  projects: Projects
  projectMembers: { projectId: string; userId: string; role: 'viewer' | 'editor' | 'owner'; createdAt: number }
  outbox: { seq: Generated<number>; at: number; topic: string; teamId: string | null; payload: string }
  jobs: Jobs
  tiers: Tiers
  jobQueue: JobQueue
  workers: Workers
  workerEnrolments: WorkerEnrolments
  workerNonces: { workerId: string; nonce: string; expiresAt: number }
  jobAttempts: JobAttempts
  jobLeases: JobLeases
  queueCounters: QueueCounters
  teamShares: TeamShares
  jobEvents: { seq: Generated<number>; jobId: string; at: number; kind: string; data: string }
  jobLogs: JobLogs
  jobSecrets: { jobId: string; sealed: string }
  queuePauses: { kind: string; pausedAt: number; pausedBy: string | null; reason: string | null }
  schedules: Schedules
  teamStorage: { teamId: string; bytes: Generated<number> }
  bundles: Bundles
  artifacts: Artifacts
  projectEgress: { projectId: string; host: string; addedBy: string | null; addedAt: number }
  mirrors: Mirrors
  /** PostgreSQL only; SQLite keeps one index file per project. */
  searchFiles: {
    projectId: string
    token: number
    id: number
    path: string
    language: string | null
    text: string
    folded: string
  }
}

interface Projects {
  id: string
  teamId: string
  name: string
  createdBy: string | null
  createdAt: number
  archivedAt: number | null
}

interface Jobs {
  id: string
  projectId: string
  teamId: string
  kind: string
  state: 'queued' | 'leased' | 'running' | 'succeeded' | 'failed' | 'canceled' | 'skipped'
  phase: string | null
  progress: number | null
  message: string | null
  priority: number
  labels: string
  input: string
  subject: string
  submittedByUser: string | null
  submittedByKey: string | null
  submittedAt: number
  ttlSeconds: number
  expiresAt: number
  attempt: Generated<number>
  maxAttempts: number
  infrastructureFailures: Generated<number>
  /** Attempts that cost the budget nothing: given back by a draining worker, or made before a retry by hand. */
  uncountedAttempts: Generated<number>
  startedAt: number | null
  finishedAt: number | null
  result: string | null
  error: string | null
  skipReason: string | null
  cancelRequestedAt: number | null
  completedToken: number | null
  completionHash: string | null
  logSeq: Generated<number>
  logBytes: Generated<number>
  idempotencyKey: string | null
  requestHash: string | null
  pool: Generated<string>
  /** JSON {strategy, seconds, maxSeconds}. */
  backoff: string | null
  scheduleId: string | null
  scheduledFor: number | null
  requestId: string | null
  traceParent: string | null
}

interface JobQueue {
  jobId: string
  projectId: string
  teamId: string
  kind: string
  priority: number
  /** Submission time minus the head start of the priority; the smallest runs first. */
  rank: number
  pool: Generated<string>
  labels: string
  runAt: number
  expiresAt: number
}

interface Workers {
  id: string
  name: string
  teamId: string | null
  publicKey: string
  labels: Generated<string>
  kinds: Generated<string>
  slots: Generated<number>
  version: string | null
  isolation: string | null
  enrolledAt: number
  enrolledBy: string | null
  expiresAt: number | null
  lastSeenAt: number | null
  drainingAt: number | null
  revokedAt: number | null
  pool: Generated<string>
  capabilities: string | null
  clockSkewMs: number | null
  refusing: string | null
  keyExpiresAt: number | null
  previousPublicKey: string | null
  previousKeyUntil: number | null
  enrolmentId: string | null
  boundPool: string | null
  /** 1 for a worker that signs off when it ends and is retired when it falls silent. */
  ephemeral: Generated<number>
}

interface WorkerEnrolments {
  id: string
  tokenHash: string
  name: string | null
  teamId: string | null
  createdBy: string | null
  createdAt: number
  expiresAt: number
  /** The last time. */
  usedAt: number | null
  /** The first worker that enrolled with it. */
  workerId: string | null
  maxUses: Generated<number>
  uses: Generated<number>
  pool: string | null
  ephemeral: Generated<number>
  revokedAt: number | null
}

interface JobAttempts {
  token: Generated<number>
  jobId: string
  number: number
  workerId: string
  claimedAt: number
  startedAt: number | null
  endedAt: number | null
  outcome: string | null
  error: string | null
  phases: Generated<string>
  receipt: string | null
  receiptVerified: Generated<number>
  printedStdout: Generated<number>
  printedStderr: Generated<number>
}

interface JobLeases {
  token: number
  jobId: string
  projectId: string
  teamId: string
  kind: string
  workerId: string
  phase: 'dispatched' | 'started'
  expiresAt: number
  pool: Generated<string>
}

interface QueueCounters {
  projectId: string
  kind: string
  waiting: Generated<number>
  running: Generated<number>
  maxWaiting: number
  maxRunning: number | null
  pausedAt: number | null
}

interface TeamShares {
  teamId: string
  waiting: Generated<number>
  running: Generated<number>
  maxRunning: number
  weight: Generated<number>
  pass: Generated<number>
}

interface JobLogs {
  jobId: string
  seq: number
  token: number
  chunkSeq: number
  stream: string
  at: number
  text: string
  startByte: number | null
  endByte: number | null
  mark: 'gap' | 'truncated' | null
}

interface Mirrors {
  projectId: string
  repository: string
  commitId: string
  branch: string | null
  indexToken: number
  files: number
  bytes: number
  syncedAt: number
}

interface Schedules {
  id: string
  projectId: string
  teamId: string
  name: string
  cron: string
  timeZone: string
  kind: string
  submission: string
  sealedSecrets: string | null
  missedRuns: 'skip' | 'run_once'
  overlap: 'skip' | 'allow'
  submittedByUser: string | null
  submittedByKey: string | null
  createdAt: number
  pausedAt: number | null
  nextRunAt: number | null
  lastRunAt: number | null
  lastJobId: string | null
  lastRefusal: string | null
}

interface Bundles {
  id: string
  projectId: string
  teamId: string
  objectKey: string
  bytes: number
  unpackedBytes: number
  entries: number
  sha256: string
  createdByUser: string | null
  createdAt: number
  expiresAt: number
}

interface Artifacts {
  id: string
  projectId: string
  teamId: string
  jobId: string
  token: number
  state: 'pending' | 'committed'
  path: string
  objectKey: string | null
  bytes: number
  sha256: string
  createdAt: number
  expiresAt: number
}

/** What each plan allows. */
export interface Tiers {
  name: string
  rateMultiplier: number
  waitingJobs: number
  runningJobs: number
  weight: number
  bundleBytes: number
  storedBytes: number
  previewMinutes: number
  aiTokensPerMonth: number
  webhookEndpoints: number
  bodyBytes: number
  headerBytes: number
  stringLength: number
  arrayItems: number
  pageItems: number
  updatedAt: number | null
}

import { type Static, Type } from 'typebox'
import { JobKind, Labels, Pool } from './jobs.ts'
import { object } from './values.ts'
import { Isolation, WorkerCapabilities } from './workers.ts'

/** What a worker says of itself with each poll. */
export const WorkerReport = object({
  version: Type.String({ maxLength: 40 }),
  labels: Labels,
  kinds: Type.Array(JobKind, { maxItems: 10, uniqueItems: true }),
  slots: Type.Integer({ minimum: 1, maximum: 1024 }),
  isolation: Isolation,
  pool: Type.Optional(Pool),
  capabilities: Type.Optional(WorkerCapabilities),
  /** Milliseconds by which this machine's clock is ahead of the server's, as measured. */
  clockSkewMs: Type.Optional(Type.Integer({ minimum: -9_007_199_254_740_991, maximum: 9_007_199_254_740_991 })),
  /** Why it takes no jobs at the moment, such as a full disk; absent when it does. */
  refusing: Type.Optional(Type.String({ maxLength: 300 })),
})
export type WorkerReport = Static<typeof WorkerReport>

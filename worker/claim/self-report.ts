import type { WorkerReport } from '@hivesync/contracts/worker-report.ts'
import type { WorkerConfig } from '../config.ts'
import type { IsolationState } from '../isolation.ts'
import type { Logger } from '../logger.ts'
import type { ServerTime } from '../report/server-time.ts'
import type { JobRunner } from '../run/run-job.ts'
import { findGranted } from '../sandbox/gpu.ts'
import { findCapabilities } from './capabilities.ts'
import { createReadiness } from './readiness.ts'

/** A clock further off than this could not be told as a number the database keeps; it is a broken clock all the same. */
const mostSkewMs = 2 ** 40

export interface SelfReport {
  /** What to say of this worker right now. */
  report(): Promise<WorkerReport>
  /** Why no jobs are taken, as of the last report. */
  readonly trouble: string | undefined
  readonly storedBytes: number
}

/** What a worker says of itself with each poll. One that has a GPU to give carries the label `gpu` by itself. */
export async function openSelfReport(options: {
  config: WorkerConfig
  version: string
  isolation: IsolationState
  time: ServerTime
  log: Logger
  place: ReturnType<JobRunner['findSandbox']>
}): Promise<SelfReport> {
  const { config, version, isolation, time } = options
  const gpus = findGranted(config.gpus)
  const labels = new Set([...config.labels, ...(gpus.length > 0 ? ['gpu'] : [])])
  const capabilities = await findCapabilities({ dataDir: config.dataDir, gpus, place: options.place })
  const readiness = createReadiness({ ...config, log: options.log })
  let trouble: string | undefined
  return {
    async report() {
      const refusing = await readiness.refusal()
      const proven = await isolation.current()
      trouble = refusing ?? proven.reason ?? undefined
      const { skewMs } = time
      return {
        version,
        labels: [...labels],
        kinds: ['ingest', 'compute'],
        slots: config.slots,
        isolation: proven,
        pool: config.pool,
        capabilities: await capabilities(),
        ...(skewMs !== undefined && Math.abs(skewMs) < mostSkewMs && { clockSkewMs: skewMs }),
        ...(refusing !== undefined && { refusing: refusing.slice(0, 300) }),
      }
    },
    get trouble() {
      return trouble
    },
    get storedBytes() {
      return readiness.storedBytes
    },
  }
}

import { parseRepositoryUrl, RepositoryRefused } from '@hivesync/contracts/repository-url.ts'
import type { EgressDecision } from '../fetch/egress-proxy.ts'
import { FetchFailed } from '../fetch/fetch-failed.ts'
import { ingestRepository } from '../fetch/ingest.ts'
import type { IngestSettings } from '../fetch/ingest-settings.ts'
import { hostAndPort } from '../fetch/repository-policy.ts'
import type { Logger } from '../logger.ts'
import { createIndexUpload, type IndexUpload } from '../report/index-upload.ts'
import type { JobLog } from '../report/job-log.ts'
import type { Completion } from '../report/outbox.ts'
import type { Progress } from '../report/progress.ts'
import type { RunRecord } from './run-record.ts'

export interface IngestPolicy {
  dataDir: string
  settings: IngestSettings
  /** `host` or `host:port`; empty means any public host on port 443. */
  allowHosts: readonly string[]
}

type UploadBatch = Parameters<typeof createIndexUpload>[0]

/**
 * Fetches a repository and hands its text to the index. A repository that cannot be had is a failed job; one that may be
 * had later counts against the machine (`infrastructure`). Throws the signal's reason, and what the upload throws.
 */
export async function runIngest(options: {
  record: RunRecord
  projectId: string
  input: Readonly<Record<string, unknown>>
  policy: IngestPolicy
  upload: UploadBatch
  progress: Progress
  jobLog: JobLog
  log: Logger
  jobId: string
  onEgress: (decision: EgressDecision) => void
  signal: AbortSignal
}): Promise<Completion> {
  const { input, policy, progress, jobLog, log, jobId, record, onEgress } = options
  const { repository, ref } = input
  if (typeof repository !== 'string' || !(ref === undefined || isRef(ref))) {
    return { outcome: 'failed', error: { code: 'invalid_input', message: 'The input of the job is not valid.' } }
  }
  try {
    requireAllowedHost(repository, policy)
    const upload: IndexUpload = createIndexUpload(options.upload)
    const { skipped, ...result } = await ingestRepository({
      ...{ sandbox: record.sandbox, projectId: options.projectId, repository, signal: options.signal, onEgress },
      ...(ref !== undefined && { ref }),
      dataDir: policy.dataDir,
      settings: policy.settings,
      onProgress({ phase, percent, message }) {
        record.enter(phase)
        progress.report({
          phase,
          progress: Math.min(100, Math.max(0, Math.floor(percent))),
          message: message.slice(0, 300),
        })
      },
      onFiles: (files) => upload.add(files),
    })
    const { refused } = await upload.finish()
    const left = Object.entries({ ...skipped, tooLong: refused }).filter(([, count]) => count > 0)
    if (left.length > 0) jobLog.note(`not indexed: ${left.map(([why, count]) => `${count} ${why}`).join(', ')}`)
    return { outcome: 'succeeded', result: { ...result, skipped } }
  } catch (error) {
    if (error instanceof RepositoryRefused) {
      return { outcome: 'failed', error: { code: 'repository_refused', message: error.message } }
    }
    if (!(error instanceof FetchFailed)) throw error
    log.warn('ingest_failed', { jobId, code: error.code, detail: error.detail })
    jobLog.note(error.message)
    const infrastructure = error.retryable ? { infrastructure: true } : {}
    return { outcome: 'failed', error: { code: error.code, message: error.message }, ...infrastructure }
  }
}

/** contracts/job-kinds.ts, GitRef: read again here, because git gets it as an argument. */
function isRef(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 250 && /^(?!-)(?!.*\.\.)(?!.*\/\/)[A-Za-z0-9._/@+-]+$/.test(value)
}

function requireAllowedHost(text: string, { allowHosts, settings }: IngestPolicy): void {
  const repository = parseRepositoryUrl(text)
  if (repository.kind !== 'https') return
  const { host, port } = repository
  const full = hostAndPort(host, port)
  if (allowHosts.includes(full) || settings.privateHosts.includes(full)) return
  if (port === 443 && (allowHosts.length === 0 || allowHosts.includes(full.slice(0, -':443'.length)))) return
  throw new RepositoryRefused('host_not_allowed', 'This worker may not fetch from that host.')
}

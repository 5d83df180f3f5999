import { finalStates, type Job, type JobState } from '@hivesync/contracts/jobs.ts'
import { fieldLines } from './table.ts'
import { dim, type Line, type Styled } from './terminal.ts'
import { formatAge, formatBytes, formatCount, formatDuration } from './units.ts'

const styles: Readonly<Record<JobState, Styled['style']>> = {
  queued: 'yellow',
  leased: 'yellow',
  running: 'cyan',
  succeeded: 'green',
  failed: 'red',
  canceled: 'dim',
  skipped: 'dim',
}

export function stateCell(state: JobState): Styled {
  return { style: styles[state], text: state }
}

export function isFinal(state: JobState): boolean {
  return (finalStates as readonly string[]).includes(state)
}

/** How long a job took, or has been running. */
export function durationOf(job: Job, nowMs: number): string {
  if (job.startedAt === null) return ''
  const end = job.finishedAt === null ? nowMs : Date.parse(job.finishedAt)
  return formatDuration(end - Date.parse(job.startedAt))
}

/** Everything about a job that a person asks first. */
export function jobLines(job: Job, nowMs: number): Line[] {
  const progress =
    isFinal(job.state) || job.phase === null
      ? undefined
      : [job.phase, job.progress === null ? '' : `${job.progress}%`, job.message ?? ''].filter(Boolean).join(' ')
  const lines = fieldLines([
    ['job', job.id],
    ['kind', job.kind],
    ['subject', job.subject],
    ['state', stateCell(job.state)],
    ['progress', progress],
    ['attempt', job.attempt === 0 ? undefined : `${job.attempt} of ${job.maxAttempts}`],
    ['labels', job.labels.length === 0 ? undefined : job.labels.join(' ')],
    ['submitted', `${job.submittedAt} (${formatAge(job.submittedAt, nowMs)})`],
    ['started', job.startedAt ?? undefined],
    ['finished', job.finishedAt ?? undefined],
    ['took', durationOf(job, nowMs) || undefined],
    ...timingFields(job),
    ['expires', isFinal(job.state) ? undefined : formatAge(job.expiresAt, nowMs)],
    ['project', job.projectId],
    ['request', job.requestId],
    ...resultFields(job),
  ])
  return [...lines, ...whyLines(job)]
}

/** Where its time went: waiting, then each attempt with its phases. */
function timingFields({ timings }: Job): [name: string, value: string | undefined][] {
  if (timings === undefined) return []
  const { waitingMs, attempts } = timings
  return [
    ['waited', formatDuration(waitingMs)],
    ...attempts.map(({ number, totalMs, phases }, i): [string, string] => {
      const parts = phases.map(({ phase, ms }) => `${phase} ${formatDuration(ms)}`)
      const inside = parts.length === 0 ? '' : ` (${parts.join(', ')})`
      return [i === 0 ? 'attempts' : '', `${number}: ${formatDuration(totalMs)}${inside}`]
    }),
  ]
}

/** Why a job waits, or how it ended when it did not succeed. */
export function whyLines(job: Job): Line[] {
  if (job.waitingFor !== undefined) {
    const { message, fix } = job.waitingFor
    return [[{ style: 'yellow', text: '  waiting: ' }, message], ...(fix === null ? [] : [[dim('  → '), fix]])]
  }
  if (job.error !== null) return [[{ style: 'red', text: '  error: ' }, job.error.message, dim(` (${job.error.code})`)]]
  if (job.skipReason !== null) return [[dim('  skipped: '), job.skipReason]]
  return []
}

/** The result of an ingest as a summary; of another kind, its members. */
export function resultLines(job: Job): Line[] {
  return fieldLines(resultFields(job))
}

function resultFields({ kind, result }: Job): [name: string, value: string | undefined][] {
  if (result === null) return []
  if (kind !== 'ingest') {
    return Object.entries(result).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ])
  }
  return [
    ['commit', text(result.commit)],
    ['branch', text(result.branch)],
    ['files', typeof result.files === 'number' ? formatCount(result.files) : undefined],
    ['bytes', typeof result.bytes === 'number' ? formatBytes(result.bytes) : undefined],
    ['languages', languagesOf(result.languages)],
  ]
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** The five languages with the most files. */
function languagesOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const ranked = Object.entries(value)
    .map(([name, count]): [string, number] => [name, filesOf(count)])
    .sort((a, b) => b[1] - a[1])
  const shown = ranked.slice(0, 5).map(([name, files]) => `${name} ${formatCount(files)}`)
  if (ranked.length > 5) shown.push(`${ranked.length - 5} more`)
  return shown.length === 0 ? undefined : shown.join(', ')
}

function filesOf(count: unknown): number {
  if (typeof count === 'number') return count
  return typeof count === 'object' && count !== null && 'files' in count && typeof count.files === 'number'
    ? count.files
    : 0
}

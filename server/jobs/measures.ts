import { jobKinds } from '@hivesync/contracts/job-kinds.ts'
import { finalStates } from '@hivesync/contracts/jobs.ts'
import type { OutboxEvent } from '../outbox/outbox.ts'
import type { Context } from '../platform/context.ts'
import type { CounterSpec, HistogramSpec } from '../platform/metrics.ts'

const jobsSubmitted: CounterSpec<'kind'> = {
  name: 'hivesync_jobs_submitted_total',
  help: 'Jobs that were accepted',
  labels: { kind: jobKinds },
}
const jobsEnded: CounterSpec<'kind' | 'state'> = {
  name: 'hivesync_jobs_ended_total',
  help: 'Jobs that have reached their final state',
  labels: { kind: jobKinds, state: finalStates },
}
export const attemptsLost: CounterSpec<'reason'> = {
  name: 'hivesync_attempts_lost_total',
  help: 'Leases that ran out: the worker fell silent, or never started',
  labels: { reason: ['silent', 'not_started'] },
}
export const claimSizes: HistogramSpec = {
  name: 'hivesync_claimed_jobs',
  help: 'Jobs that one claim leased, where it found any',
  bounds: [1, 2, 5, 10, 25, 50, 100],
}

/** Those that are there from the start. */
export const jobCounters = [jobsSubmitted, jobsEnded, attemptsLost, claimSizes]

/** Counts jobs from the events of their transactions, after the outbox has handed them out: each once, in whichever process hears of it. */
export function countJobs({ metrics }: Context, events: readonly OutboxEvent[]): void {
  for (const { topic, payload } of events) {
    const [noun, state = ''] = topic.split('.')
    if (noun !== 'job') continue
    const kind = String(payload.kind)
    if (state === 'submitted') metrics.count(jobsSubmitted, { kind })
    else if (finalStates.some((final) => final === state)) metrics.count(jobsEnded, { kind, state })
  }
}

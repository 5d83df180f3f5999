import type { Job } from '@hivesync/contracts/jobs.ts'
import type { JobEvent } from '@hivesync/sdk'
import type { Followed } from './follow-job.ts'
import type { Machine } from './machine.ts'
import { createProgress } from './progress.ts'
import type { Terminal } from './terminal.ts'

export interface JobProgress {
  start(job: Job): Promise<void>
  onEvent(event: JobEvent): Promise<void>
  /** Runs the following and ends the live line whatever happens. */
  around(follow: () => Promise<Followed>): Promise<Followed>
}

/** Turns the events of a job into progress: waiting, then the worker's phases. */
export function createJobProgress(terminal: Terminal, machine: Machine): JobProgress {
  const progress = createProgress(terminal, machine)
  return {
    async start(job) {
      if (job.state === 'queued') await progress.show({ phase: 'queued', percent: null, message: null })
    },
    async onEvent(event) {
      if (event.type === 'progress') {
        const { phase, progress: percent, message } = event.data
        await progress.show({ phase, percent, message })
      } else if (event.type === 'state') {
        const { state, reason } = event.data
        if (state === 'queued') await progress.show({ phase: 'queued', percent: null, message: reason ?? null })
        if (state === 'leased') await progress.show({ phase: 'starting', percent: null, message: null })
      }
    },
    async around(follow) {
      try {
        const followed = await follow()
        const isDone = followed.how === 'ended' && followed.job.state === 'succeeded'
        await progress.finish(isDone ? 'done' : followed.how === 'detached' ? 'left' : 'failed')
        return followed
      } catch (error) {
        await progress.finish('failed')
        throw error
      }
    },
  }
}

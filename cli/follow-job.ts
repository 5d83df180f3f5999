import { setTimeout as delay } from 'node:timers/promises'
import { cancelJob, getJob, type Job } from '@hivesync/contracts/jobs.ts'
import { type Client, HiveSyncError, type JobEvent, type Reconnect, watchJobEvents } from '@hivesync/sdk'
import type { Workbench } from './context.ts'
import { exitCode } from './exit-codes.ts'
import { whyLines } from './job-lines.ts'

export interface Followed {
  job: Job
  /** `detached`: the job goes on without us. */
  how: 'ended' | 'detached' | 'canceled'
}

export const cancelOnInterruptOption = {
  type: 'boolean',
  summary: 'Ctrl-C cancels the job instead of detaching from it',
} as const

const explainAfterMs = 1000

export const interruptNote = 'Ctrl-C detaches: the job goes on. A second Ctrl-C within 2 s cancels it.'

/**
 * Follows a job to its end, across lost connections. Ctrl-C detaches and says how to come back; a second one, or the first
 * with `cancelOnInterrupt`, cancels the job.
 */
export async function followJob(
  workbench: Workbench,
  client: Client,
  job: Job,
  options: { onEvent: (event: JobEvent) => Promise<void>; cancelOnInterrupt: boolean },
): Promise<Followed> {
  const interrupts = watchInterrupts(workbench)
  const { first } = interrupts
  const stopExplaining = explainWaiting(workbench, client, job)
  try {
    const onReconnect = ({ failures }: Reconnect): void => {
      if (failures === 1) void workbench.terminal.note('The connection was lost; reconnecting…')
    }
    for await (const event of watchJobEvents(client, job.id, { signal: first, onReconnect })) {
      if (event.type !== 'state' || event.data.state !== 'queued') stopExplaining()
      await options.onEvent(event)
      if (first.aborted) break
    }
    if (!first.aborted) return { job: await client.call(getJob, { params: { jobId: job.id } }), how: 'ended' }
  } catch (error) {
    if (!first.aborted) throw error
  } finally {
    stopExplaining()
    if (!first.aborted) interrupts.close()
  }
  try {
    if (!options.cancelOnInterrupt) {
      await workbench.terminal.warn(
        `Detached. The job goes on; come back with: hivesync job watch ${job.id}`,
        'Press Ctrl-C again now to cancel it.',
      )
      if (!(await interrupts.second)) return { job, how: 'detached' }
    }
    return await cancel(workbench, client, job)
  } finally {
    interrupts.close()
  }
}

/** Says why a job still waits after a second, and what would help, unless it has begun by then. */
function explainWaiting(workbench: Workbench, client: Client, job: Job): () => void {
  const stopped = new AbortController()
  const { signal } = stopped
  async function explain(): Promise<void> {
    await delay(explainAfterMs, undefined, { signal })
    const now = await client.call(getJob, { params: { jobId: job.id }, signal })
    const reason = now.waitingFor?.reason
    // Waiting for one's turn or for the next poll of a worker needs no explanation.
    if (reason !== undefined && reason !== 'turn' && reason !== 'delivery')
      await workbench.terminal.note(...whyLines(now))
  }
  explain().catch((error: unknown) => {
    // What keeps us from asking keeps the stream from coming, too, and is told there; a stop is no fault.
    if (!signal.aborted && !(error instanceof HiveSyncError)) throw error
  })
  return () => stopped.abort()
}

async function cancel(workbench: Workbench, client: Client, job: Job): Promise<Followed> {
  try {
    const canceled = await client.call(cancelJob, { params: { jobId: job.id } })
    await workbench.terminal.warn(`Canceled job ${job.id}.`)
    return { job: canceled, how: 'canceled' }
  } catch (error) {
    if (!(error instanceof HiveSyncError) || error.code !== 'job_finished') throw error
    return { job: await client.call(getJob, { params: { jobId: job.id } }), how: 'ended' }
  }
}

/** `first` aborts at the first Ctrl-C; `second` answers whether another followed in time. */
function watchInterrupts({ machine }: Workbench) {
  const first = new AbortController()
  const closed = new AbortController()
  const again = Promise.withResolvers<boolean>()
  let presses = 0
  const stop = machine.onInterrupt(() => {
    if (++presses > 1) return again.resolve(true)
    first.abort()
    delay(machine.secondInterruptMs, undefined, { signal: closed.signal }).then(
      () => again.resolve(false),
      () => again.resolve(false),
    )
  })
  return {
    first: first.signal,
    second: again.promise,
    close(): void {
      stop()
      closed.abort()
    },
  }
}

/** What a command that waited for a job ends with. */
export function followedExitCode({ job, how }: Followed): number {
  if (how !== 'ended') return exitCode('interrupted')
  return job.state === 'succeeded' ? exitCode('ok') : exitCode('failed')
}

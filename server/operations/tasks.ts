import type { Context } from '../platform/context.ts'
import { gaugeGroup, type Reading } from '../platform/gauges.ts'

interface TaskRecord {
  readonly everyMs: number
  failures: number
  /** Of its start, until it has succeeded once: a task that never does is late too. */
  lastSuccessAt: number
}

const records = new WeakMap<Context, Map<string, TaskRecord>>()

/** A background task begins its rounds. */
export function taskStarts(ctx: Context, name: string, everyMs: number): void {
  const known = records.get(ctx) ?? new Map<string, TaskRecord>()
  records.set(ctx, known.set(name, { everyMs, failures: 0, lastSuccessAt: ctx.clock.now() }))
}

/** A round of it is over. */
export function taskEnded(ctx: Context, name: string, outcome: 'succeeded' | 'failed'): void {
  const record = records.get(ctx)?.get(name)
  if (record === undefined) throw new Error(`the task ${name} never started`)
  if (outcome === 'failed') record.failures++
  else record.lastSuccessAt = ctx.clock.now()
}

export const taskGauges = gaugeGroup({
  name: 'tasks',
  families: {
    hivesync_task_failures_total: 'Rounds of a background task that failed',
    hivesync_task_interval_seconds: 'How often it is to run',
    hivesync_task_last_success_seconds: 'When a round last went well, or the task began its rounds (epoch)',
  },
  read(ctx) {
    return [...(records.get(ctx) ?? [])].flatMap(([task, { everyMs, failures, lastSuccessAt }]) => {
      const labels = { task }
      return [
        { name: 'hivesync_task_failures_total', labels, value: failures },
        { name: 'hivesync_task_interval_seconds', labels, value: everyMs / 1000 },
        { name: 'hivesync_task_last_success_seconds', labels, value: lastSuccessAt / 1000 },
      ] satisfies Reading[]
    })
  },
})

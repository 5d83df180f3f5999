import { prune, reapLeases, skipExpired } from './jobs/jobs.ts'
import type { Context } from './platform/context.ts'
import { sweepIndexes } from './search/search.ts'

interface Task {
  name: string
  everyMs: number
  run(ctx: Context): Promise<unknown>
}

/** What the control plane does on its own, and how often. Each run ends before its next begins; a failure is logged and the next run tries again. */
const tasks: readonly Task[] = [
  { name: 'reap_leases', everyMs: 1000, run: reapLeases },
  { name: 'skip_expired', everyMs: 1000, run: skipExpired },
  { name: 'prune', everyMs: 60_000, run: prune },
  { name: 'sweep_indexes', everyMs: 600_000, run: sweepIndexes },
]

/** Starts the tasks; the function returned stops them and waits for those under way. */
export function startBackground(ctx: Context): () => Promise<void> {
  const running = new Set<Promise<void>>()
  const timers = tasks.map((task) => {
    let busy = false
    const run = async (): Promise<void> => {
      try {
        await task.run(ctx)
      } catch (error) {
        ctx.log.error({ event: 'task_failed', name: task.name }, error)
      }
      busy = false
    }
    return setInterval(() => {
      if (busy) return
      busy = true
      const done = run().finally(() => running.delete(done))
      running.add(done)
    }, task.everyMs)
  })
  return async () => {
    for (const timer of timers) clearInterval(timer)
    await Promise.all(running)
  }
}

import { Logger, run } from 'graphile-worker'
import { PgBoss } from 'pg-boss'
import type { JobSystem } from './hivesync-jobs.ts'

const queue = 'bench'

/** pg-boss as its documentation's `fetch` does it: each job is sent, fetched and completed on its own, pool and settings at their defaults. */
export async function openPgBoss(databaseUrl: string): Promise<JobSystem> {
  const boss = new PgBoss(databaseUrl)
  let failure: unknown
  boss.on('error', (error) => {
    failure = error
  })
  await boss.start()
  await boss.createQueue(queue)
  return {
    async live() {
      if (failure !== undefined) throw failure
      await boss.send(queue, { command: ['true'] })
      for (;;) {
        // Another lane's fetch may hold the lock on the row that would have been this one's.
        const [job] = await boss.fetch(queue, { batchSize: 1 })
        if (job === undefined) continue
        await boss.complete(queue, job.id, { exitCode: 0 })
        return
      }
    },
    [Symbol.asyncDispose]: () => boss.stop({ graceful: false }),
  }
}

/** graphile-worker in this process, woken by LISTEN/NOTIFY; `concurrency` undefined leaves its default of one job at a time. */
export async function openGraphileWorker(databaseUrl: string, concurrency?: number): Promise<JobSystem> {
  const ends = new Map<string, PromiseWithResolvers<void>>()
  const endOf = (jobId: string): PromiseWithResolvers<void> => {
    const end = ends.get(jobId) ?? Promise.withResolvers<void>()
    ends.set(jobId, end)
    return end
  }
  const runner = await run({
    ...{ connectionString: databaseUrl, noHandleSignals: true },
    ...(concurrency === undefined ? {} : { concurrency, maxPoolSize: concurrency + 1 }),
    logger: new Logger(() => () => {}),
    taskList: { [queue]: async () => {} },
  })
  // After the result has been written to the database, not when the task's function returns.
  runner.events.on('job:complete', ({ job, error }) => {
    if (error) endOf(job.id).reject(error)
    else endOf(job.id).resolve()
  })
  return {
    async live() {
      const { id } = await runner.addJob(queue, { command: ['true'] })
      await endOf(id).promise
      ends.delete(id)
    },
    [Symbol.asyncDispose]: () => runner.stop(),
  }
}

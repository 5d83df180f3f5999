import { submitJob } from '@hivesync/contracts/jobs.ts'
import { createProject } from '@hivesync/contracts/projects.ts'
import { runSql } from './databases.ts'
import { cpuMsOf } from './processes.ts'
import { startRemoteWorker } from './remote-worker.ts'
import { makeFolder, profiling, signInAdmin, startServer } from './server.ts'

/** One job queue under test. */
export interface JobSystem extends AsyncDisposable {
  /** One job through its whole life. */
  live(): Promise<void>
  /** CPU time of the serving process so far, where the queue has one of its own. */
  cpuMs?(): number
  /** Throws unless the database says that as many jobs ended well as lives were led. */
  verify?(lives: number): Promise<void>
}

/**
 * The real server in a process of its own, with one worker of 32 slots at the other end of HTTP. The team's plan is raised by SQL: the free one
 * runs two jobs at once.
 */
export async function openHiveSync(
  inFlight: number,
  options: { name: string; databaseUrl?: string; profileDir: string | undefined },
): Promise<JobSystem> {
  const cleanup = new AsyncDisposableStack()
  try {
    const folder = await makeFolder()
    cleanup.defer(folder.remove)
    const nodeOptions = profiling(options.profileDir, `p3-${options.name}`)
    const server = await startServer({ folder: folder.path, databaseUrl: options.databaseUrl, nodeOptions })
    cleanup.defer(server.stop)
    const api = await signInAdmin(server)
    cleanup.defer(() => api.client.close())
    await runSql(server.databaseUrl, `update teams set tier = 'enterprise'`)
    const project = await api.call<{ id: string }>('POST', createProject.path, { name: 'bench' }, createProject.status)
    const target = submitJob.path.replace(':projectId', project.id)
    const body = { kind: 'compute', input: { command: ['true'] } }

    const broken = Promise.withResolvers<never>()
    broken.promise.catch(() => {}) // seen by the lives that race it; between them nobody may be waiting
    // A job may have ended before the answer to its submission was read.
    const ends = new Map<string, PromiseWithResolvers<void>>()
    const endOf = (jobId: string): PromiseWithResolvers<void> => {
      const end = ends.get(jobId) ?? Promise.withResolvers<void>()
      ends.set(jobId, end)
      return end
    }
    const onEnd = (jobId: string): void => endOf(jobId).resolve()
    const worker = await startRemoteWorker(server.url, api, inFlight, onEnd, broken.reject)
    cleanup.defer(worker.stop)

    return {
      async live() {
        const { id } = await api.call<{ id: string }>('POST', target, body, submitJob.status)
        await Promise.race([endOf(id).promise, broken.promise])
        ends.delete(id)
      },
      cpuMs: () => cpuMsOf(server.pid),
      async verify(lives) {
        const [row] = await runSql(
          server.databaseUrl,
          `select (select count(*) from jobs where state = 'succeeded') jobs, (select count(*) from job_attempts where outcome = 'succeeded') attempts,
          (select count(*) from job_leases) + (select count(*) from job_queue) remaining`,
        )
        const found = [Number(row?.jobs), Number(row?.attempts), Number(row?.remaining)]
        if (found.join() !== [lives, lives, 0].join())
          throw new Error(`${lives} lives, but the database has ${JSON.stringify(row)}`)
      },
      [Symbol.asyncDispose]: () => cleanup.disposeAsync(),
    }
  } catch (error) {
    await cleanup.disposeAsync()
    throw error
  }
}

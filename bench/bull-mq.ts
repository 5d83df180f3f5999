import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { JobSystem } from './hivesync-jobs.ts'
import { plainEnvironment, root, stopProcess } from './processes.ts'
import { makeFolder } from './server.ts'

// Outside the root lockfile: its dependency msgpackr may bring a package that runs a script at install, which this lockfile leaves out.
const folder = join(root, 'bench', 'bullmq')
const queueName = 'bench'

/** What is used of BullMQ, whose types are not there before it is installed. */
interface BullMq {
  Queue: new (
    name: string,
    options: object,
  ) => { add(name: string, data: object): Promise<{ id?: string }>; close(): Promise<void> }
  Worker: new (name: string, run: () => Promise<object>, options: object) => BullWorker
}
interface BullWorker {
  on(event: 'completed', listener: (job: { id?: string }) => void): void
  on(event: 'error', listener: (error: Error) => void): void
  close(): Promise<void>
}

/**
 * BullMQ in this process, as many jobs at once as are in flight, on a Redis of its own that syncs every write to the disk before it answers. Installed on
 * first use. A text says why there is none.
 */
export async function openBullMq(inFlight: number): Promise<JobSystem | string> {
  const missing = await install()
  if (missing !== undefined) return missing
  const cleanup = new AsyncDisposableStack()
  try {
    const port = await startRedis(cleanup)
    if (port === undefined) return 'redis-server is not installed here'
    const { Queue, Worker } = createRequire(join(folder, 'package.json'))('bullmq') as BullMq
    const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null }
    const queue = new Queue(queueName, { connection })
    cleanup.defer(() => queue.close())
    const worker = new Worker(queueName, async () => ({ exitCode: 0 }), { connection, concurrency: inFlight })
    cleanup.defer(() => worker.close())
    const ends = new Map<string | undefined, PromiseWithResolvers<void>>()
    const endOf = (jobId: string | undefined): PromiseWithResolvers<void> => {
      const end = ends.get(jobId) ?? Promise.withResolvers<void>()
      ends.set(jobId, end)
      return end
    }
    worker.on('completed', ({ id }) => endOf(id).resolve())
    worker.on('error', (error) => {
      for (const end of ends.values()) end.reject(error)
    })
    return {
      async live() {
        const { id } = await queue.add('job', { command: ['true'] })
        await endOf(id).promise
        ends.delete(id)
      },
      [Symbol.asyncDispose]: () => cleanup.disposeAsync(),
    }
  } catch (error) {
    await cleanup.disposeAsync()
    throw error
  }
}

async function install(): Promise<string | undefined> {
  if (existsSync(join(folder, 'node_modules', 'bullmq'))) return undefined
  try {
    await promisify(execFile)('npm', ['ci', '--ignore-scripts'], { cwd: folder })
    return undefined
  } catch (error) {
    return `BullMQ cannot be installed: ${error instanceof Error ? error.message.split('\n')[0] : error}`
  }
}

/** Answers the port, or undefined where there is no Redis. */
async function startRedis(cleanup: AsyncDisposableStack): Promise<number | undefined> {
  const data = await makeFolder()
  cleanup.defer(data.remove)
  const port = await findPort()
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', data.path, ...durable]
  const redis = spawn('redis-server', args, { env: plainEnvironment, stdio: ['ignore', 'pipe', 'ignore'] })
  const isThere = await untilReady(redis)
  if (isThere) cleanup.defer(() => stopProcess(redis))
  return isThere ? port : undefined
}

async function untilReady(redis: ChildProcess): Promise<boolean> {
  const failed = once(redis, 'error').then(() => false)
  const ended = once(redis, 'exit').then(([code]) => {
    throw new Error(`redis-server ended with ${code}`)
  })
  const ready = new Promise<boolean>((resolve) => {
    redis.stdout?.on('data', (text) => String(text).includes('Ready to accept connections') && resolve(true))
  })
  ended.catch(() => {}) // it also ends when the bench is over
  return Promise.race([ready, failed, ended])
}

async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

import type { Redis } from 'ioredis'
import type { Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import type { Logger } from '../logger.ts'
import { createMemoryWindows } from './memory-windows.ts'
import { createRedisWindows } from './redis-windows.ts'
import { createSharedWindows } from './shared-windows.ts'
import type { Windows } from './windows.ts'

/** A request waits no longer for its count; a healthy Redis answers within one. */
const answerWithinMs = 50
const connectWithinMs = 2000
const maxReconnectDelayMs = 2000

interface Parts {
  config: Pick<Config, 'redisUrl' | 'replicas'>
  clock: Clock
  log: Logger
}

/** The windows of this server: in Redis where one is configured, else in memory. A Redis that is away does not keep the server from starting. */
export async function openWindows({ config, clock, log }: Parts, patienceMs = answerWithinMs): Promise<Windows> {
  const local = createMemoryWindows(clock.now)
  if (config.redisUrl === null) return local
  // Most servers have none: not loaded for nothing.
  const { Redis: Client } = await import('ioredis')
  const redis = new Client(config.redisUrl, {
    commandTimeout: patienceMs,
    connectTimeout: connectWithinMs,
    // What cannot be counted now is counted here: a queue of the past would be of no use to anybody.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (tries) => Math.min(100 * 2 ** Math.min(tries, 10), maxReconnectDelayMs),
    // A primary that became a replica keeps its connections: the next one leads to the new primary.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    connectionName: 'hivesync-limits',
  })
  // The request that could not be counted knows only that there is no connection; why, an operator must hear (a wrong password, an unknown host).
  let fault: unknown
  redis.on('error', (error) => {
    fault = error
  })
  redis.on('ready', () => {
    fault = undefined
  })
  await firstAnswer(redis)
  const count = createRedisWindows(redis)
  return createSharedWindows({
    hit: (rules) =>
      count(rules).catch((error: unknown) => {
        throw fault ?? error
      }),
    fault: redis.status === 'ready' ? undefined : (fault ?? new Error('it is not ready')),
    local,
    replicas: config.replicas,
    now: clock.now,
    log,
    async close() {
      redis.disconnect()
    },
  })
}

/** Until it can be asked or has failed once; one that loads its data does neither for as long as that takes. */
async function firstAnswer(redis: Redis): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, connectWithinMs)
    redis.once('ready', resolve)
    redis.once('error', () => resolve())
  })
  clearTimeout(timer)
}

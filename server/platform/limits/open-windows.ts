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
  const { Redis } = await import('ioredis')
  const redis = new Redis(config.redisUrl, {
    commandTimeout: patienceMs,
    connectTimeout: connectWithinMs,
    // What cannot be counted now is counted here: a queue of the past would be of no use to anybody.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (tries) => Math.min(100 * 2 ** Math.min(tries, 10), maxReconnectDelayMs),
    connectionName: 'hivesync-limits',
  })
  // Told where it matters, by the request that could not be counted; without a listener each failure would be printed.
  redis.on('error', () => {})
  await new Promise<void>((resolve) => {
    redis.once('ready', resolve)
    redis.once('error', () => resolve())
  })
  return createSharedWindows({
    hit: createRedisWindows(redis),
    local,
    replicas: config.replicas,
    now: clock.now,
    log,
    async close() {
      redis.disconnect()
    },
  })
}

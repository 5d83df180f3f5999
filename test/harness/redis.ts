import { describe, test } from 'node:test'
import { Redis } from 'ioredis'

export const redisUrl = process.env.HIVESYNC_TEST_REDIS_URL ?? 'redis://127.0.0.1:6379'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'

/** Runs a suite when Redis answers; otherwise it is skipped by name, or fails with HIVESYNC_TEST_REQUIRE_SERVICES=1. */
export function onRedis(name: string, suite: () => void): void {
  if (failure === undefined) describe(name, suite)
  else if (isRequired)
    test(name, () => {
      throw new Error(`HIVESYNC_TEST_REQUIRE_SERVICES=1, but Redis does not answer: ${failure}`)
    })
  else test(name, { skip: `Redis does not answer: ${failure}` })
}

async function findFailure(): Promise<string | undefined> {
  const redis = new Redis(redisUrl, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 })
  redis.on('error', () => {})
  try {
    await redis.connect()
    await redis.ping()
    return undefined
  } catch (error) {
    return String(error)
  } finally {
    redis.disconnect()
  }
}

const failure = await findFailure()

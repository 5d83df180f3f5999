import { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import { createMemoryWindows } from '../server/platform/limits/memory-windows.ts'
import { createRedisWindows } from '../server/platform/limits/redis-windows.ts'
import type { WindowRule } from '../server/platform/limits/windows.ts'
import {
  type BenchOptions,
  median,
  medianRatio,
  paceOf,
  type Report,
  spread,
  times,
  type Verdict,
  whole,
} from './report.ts'
import { keepInFlight, measureRounds } from './rounds.ts'

const usualPace = { rounds: 7, sliceMs: 500 }
const redisUrl = process.env.HIVESYNC_TEST_REDIS_URL ?? 'redis://127.0.0.1:6379'
const people = 10_000
const inFlight = 64
const minuteMs = 60_000
/** Never reached: what is measured is the count, not the refusal. */
const limit = 1_000_000

const labels = {
  memory: 'HiveSync in memory, one window',
  memory2: 'HiveSync in memory, two windows of a request',
  flexible: 'rate-limiter-flexible in memory, one window',
  redis1: 'HiveSync in Redis, one window',
  redis3: 'HiveSync in Redis, three windows in one call',
  flexibleRedis: 'rate-limiter-flexible in Redis, one window',
  flexibleRedis3: 'rate-limiter-flexible in Redis, three windows',
}
type Name = keyof typeof labels

/** P8: what counting a request costs, exact sliding windows against fixed ones that begin with the first hit. */
export async function measure(asked: BenchOptions): Promise<Report> {
  const { rounds, sliceMs } = paceOf(asked, usualPace)
  const redis = await openRedis()
  const prefix = `bench-${process.pid}-`
  try {
    const variants = { ...inMemory(sliceMs), ...(redis === undefined ? {} : inRedis(redis, prefix, sliceMs)) }
    const samples = await measureRounds(rounds, variants as Record<Name, () => Promise<number>>)
    const roundTrips = redis === undefined ? null : await countRoundTrips(redis, prefix)
    return report(
      samples,
      roundTrips,
      `${rounds} rounds of ${sliceMs} ms each, medians; ${people} people, ${inFlight} in flight in Redis.`,
    )
  } finally {
    if (redis !== undefined) await forget(redis, prefix)
    redis?.disconnect()
  }
}

const ruleOf = (name: string, subject: string): WindowRule => ({ name, subject, limit, windowMs: minuteMs })

function inMemory(sliceMs: number) {
  const flexible = new RateLimiterMemory({ points: limit, duration: 60 })
  const subjects = Array.from({ length: people }, (_, i) => `person-${i}`)
  const one = subjects.map((subject) => [ruleOf('read', subject)])
  const two = subjects.map((subject) => [ruleOf('read', subject), ruleOf('key-hour', subject)])
  const spin = async (act: (i: number) => unknown): Promise<number> => {
    const startedAt = performance.now()
    let count = 0
    for (; performance.now() - startedAt < sliceMs; count += 1000)
      for (let i = 0; i < 1000; i++) await act((count + i) % people)
    return (count * 1000) / (performance.now() - startedAt)
  }
  /** Ours answers at once, and the caller does not wait: so it is counted. */
  const spinAtOnce = async (act: (i: number) => unknown): Promise<number> => {
    const startedAt = performance.now()
    let count = 0
    for (; performance.now() - startedAt < sliceMs; count += 1000)
      for (let i = 0; i < 1000; i++) act((count + i) % people)
    return (count * 1000) / (performance.now() - startedAt)
  }
  return {
    // A window of its own each time, else its hits would add up from round to round.
    memory: () => {
      const windows = createMemoryWindows(Date.now)
      return spinAtOnce((i) => windows.hit(one[i] ?? []))
    },
    memory2: () => {
      const windows = createMemoryWindows(Date.now)
      return spinAtOnce((i) => windows.hit(two[i] ?? []))
    },
    flexible: () => spin((i) => flexible.consume(subjects[i] ?? '')),
  }
}

function inRedis(redis: Redis, prefix: string, sliceMs: number) {
  const hit = createRedisWindows(redis)
  const flexible = new RateLimiterRedis({
    storeClient: redis,
    points: limit,
    duration: 60,
    keyPrefix: `${prefix}flexible`,
  })
  let turn = 0
  const flow = async (act: (subject: string) => Promise<unknown>): Promise<number> => {
    const { count, elapsedMs } = await keepInFlight(inFlight, sliceMs, async () => {
      turn = (turn + 1) % people
      await act(`${prefix}${turn}`)
    })
    return (count * 1000) / elapsedMs
  }
  const names = ['read', 'key-hour', 'read-network']
  return {
    redis1: () => flow((subject) => hit([ruleOf('read', subject)])),
    redis3: () => flow((subject) => hit(names.map((name) => ruleOf(name, subject)))),
    flexibleRedis: () => flow((subject) => flexible.consume(subject)),
    flexibleRedis3: () => flow((subject) => Promise.all(names.map((name) => flexible.consume(`${name}${subject}`)))),
  }
}

/** Commands that Redis itself counted from its clients for one request of three windows; what a script calls is not among them. */
async function countRoundTrips(redis: Redis, prefix: string): Promise<number> {
  const hit = createRedisWindows(redis)
  const rules = ['a', 'b', 'c'].map((name) => ruleOf(name, `${prefix}count`))
  await hit(rules)
  const callsOf = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0)
  const before = await callsOf()
  for (let i = 0; i < 100; i++) await hit(rules)
  return ((await callsOf()) - before) / 100
}

async function openRedis(): Promise<Redis | undefined> {
  const redis = new Redis(redisUrl, { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return redis
  } catch {
    redis.disconnect()
    return undefined
  }
}

async function forget(redis: Redis, prefix: string): Promise<void> {
  for await (const keys of redis.scanStream({ match: `*${prefix}*`, count: 1000 }))
    if (keys.length > 0) await redis.unlink(...keys)
}

function report(samples: Partial<Record<Name, number[]>>, roundTrips: number | null, note: string): Report {
  const rows = (Object.keys(labels) as Name[]).flatMap((name) => {
    const own = samples[name]
    const base = name.startsWith('flexibleRedis') || name.startsWith('redis') ? samples.flexibleRedis : samples.flexible
    if (own === undefined || base === undefined) return []
    return [[labels[name], whole(median(own)), spread(own, whole), times(medianRatio(own, base))]]
  })
  const perSecond = samples.memory === undefined ? 0 : median(samples.memory)
  const verdicts: Verdict[] = [
    {
      claim: 'P8',
      text: `${whole(perSecond)} checks per second in memory, at least 5,000,000`,
      holds: perSecond >= 5_000_000,
    },
    {
      claim: 'P8',
      text:
        roundTrips === null
          ? 'one round trip per request: no Redis answers'
          : `${roundTrips} round trips to Redis for a request of three windows, at most 1`,
      holds: roundTrips === null ? null : roundTrips <= 1,
    },
  ]
  return {
    title: 'P8 · counting a request',
    head: ['', 'per s', 'least–most', 'of rate-limiter-flexible'],
    rows,
    verdicts,
    notes: ['Ours slide, exact at their edge; the others are fixed windows that begin with the first hit.', note],
  }
}

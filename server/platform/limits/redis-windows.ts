import type { Redis } from 'ioredis'
import type { WindowState } from './sliding-window.ts'
import type { WindowRule } from './windows.ts'

/**
 * Every window of a request in one call, by Redis' own clock. A window is the list of the times (ms) of its accepted hits, oldest first, 9 bytes each in a listpack:
 * exact at its edge, at most `limit` long, gone when its last hit leaves. After a failover to a clock that is behind, hits of what is now the future count as just made.
 */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%.0f', now)
local all = 1
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local early = 0
  local last = redis.call('LINDEX', key, -1)
  while last and tonumber(last) > now do
    redis.call('RPOP', key)
    early = early + 1
    last = redis.call('LINDEX', key, -1)
  end
  for _ = 1, early do redis.call('RPUSH', key, stamp) end
  local first = redis.call('LINDEX', key, 0)
  while first and tonumber(first) <= now - window do
    redis.call('LPOP', key)
    first = redis.call('LINDEX', key, 0)
  end
  if redis.call('LLEN', key) >= limit then all = 0 end
end
local answer = {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local count = redis.call('LLEN', key)
  local allowed = count < limit and 1 or 0
  if all == 1 then
    redis.call('RPUSH', key, stamp)
    redis.call('PEXPIRE', key, window)
    count = count + 1
  end
  local reset = window
  if count > 0 then
    local leaving = math.max(0, math.min(count - limit, count - 1))
    reset = tonumber(redis.call('LINDEX', key, leaving)) + window - now
  end
  answer[3 * i - 2], answer[3 * i - 1], answer[3 * i] = allowed, count, reset
end
return answer
`

interface Scripted {
  hitWindows(keys: number, ...args: (string | number)[]): Promise<number[]>
}

/** Counts in Redis; rejects when it does not answer in time. */
export function createRedisWindows(redis: Redis): (rules: readonly WindowRule[]) => Promise<WindowState[]> {
  redis.defineCommand('hitWindows', { lua: script })
  const { hitWindows } = redis as unknown as Scripted
  return async (rules) => {
    const keys = rules.map(({ name, subject }) => `hivesync:limit:${name}:${subject}`)
    const figures = await hitWindows.call(
      redis,
      keys.length,
      ...keys,
      ...rules.flatMap(({ limit, windowMs }) => [limit, windowMs]),
    )
    return rules.map(({ limit }, i) => {
      const [allowed = 0, count = 0, resetMs = 0] = figures.slice(3 * i, 3 * i + 3)
      return { allowed: allowed === 1, limit, remaining: Math.max(0, limit - count), resetMs }
    })
  }
}

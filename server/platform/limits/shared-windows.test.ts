// Against a real Redis: each test counts under names of its own, and cuts only connections of its own.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createServer, connect as dial, type Socket } from 'node:net'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { onRedis, redisUrl } from '../../../test/harness/redis.ts'
import { createLogger } from '../logger.ts'
import { createMemoryWindows } from './memory-windows.ts'
import { openWindows } from './open-windows.ts'
import { createRedisWindows } from './redis-windows.ts'
import type { WindowRule, Windows } from './windows.ts'

const dayMs = 24 * 3_600_000

function rule(limit: number, windowMs = dayMs, name = 'read', subject: string = randomUUID()): WindowRule {
  return { name, subject, limit, windowMs }
}

/** A way to Redis that can be cut, or stopped without a word. */
async function openRoad() {
  const sockets = new Set<Socket>()
  let isSilent = false
  let isCut = false
  let isRefusing = false
  let refusals = 0
  const demoted = new Set<Socket>()
  const { hostname, port } = new URL(redisUrl)
  const server = createServer((socket) => {
    if (isCut) return socket.destroy()
    const further = dial({ host: hostname, port: Number(port || 6379) })
    for (const end of [socket, further]) {
      sockets.add(end)
      end.on('error', () => {})
    }
    socket.on('data', (bytes) => {
      if (isRefusing) {
        refusals += 1
        // Each command, several of which come at once, begins with how many words it has.
        for (const _ of bytes.toString().matchAll(/^\*/gm)) socket.write('-WRONGPASS invalid password\r\n')
      } else if (demoted.has(socket)) socket.write('-READONLY You cannot write against a read only replica.\r\n')
      else if (!isSilent) further.write(bytes)
    })
    further.on('data', (bytes) => isSilent || socket.write(bytes))
    socket.on('close', () => further.destroy())
    further.on('close', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    url: `redis://127.0.0.1:${address.port}`,
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      isCut = false
      isSilent = false
    },
    silence() {
      isSilent = true
    },
    /** Ends when whoever was connected has been refused, and has tried again. */
    async refuse() {
      isRefusing = true
      for (const socket of sockets) socket.destroy()
      while (refusals < 2) await new Promise((resolve) => setImmediate(resolve))
    },
    /** What is connected now talks to a replica from now on. */
    demote() {
      for (const socket of sockets) demoted.add(socket)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Tests run beside others on few cores: only where the time-out is what is tested may it be short. */
const patientMs = 60_000

async function openShared(url: string, { replicas = 1, patienceMs = patientMs } = {}) {
  const logged: string[] = []
  const log = createLogger({ write: (line) => void logged.push(line) })
  let now = 1_000_000
  const windows = await openWindows({ config: { redisUrl: url, replicas }, clock: { now: () => now }, log }, patienceMs)
  return {
    windows,
    logged,
    advance: (ms: number) => {
      now += ms
    },
    [Symbol.asyncDispose]: () => windows.close(),
  }
}

const countAllowed = async (
  windows: Pick<Windows, 'hit'>,
  rules: readonly WindowRule[],
  tries: number,
): Promise<number> => {
  const answers = await Promise.all(Array.from({ length: tries }, () => windows.hit(rules)))
  return answers.filter((states) => states.every(({ allowed }) => allowed)).length
}

onRedis('windows in Redis', () => {
  test('two replicas that count at once let through exactly the limit', async () => {
    await using one = await openShared(redisUrl)
    await using other = await openShared(redisUrl)
    const read = rule(50)
    const counts = await Promise.all([countAllowed(one.windows, [read], 60), countAllowed(other.windows, [read], 60)])
    assert.equal(counts[0] + counts[1], 50)
    assert.equal(one.windows.state, 'shared')
  })

  test('a request counts in all its windows or in none', async () => {
    await using shared = await openShared(redisUrl)
    const [tight, wide] = [rule(2), rule(10)]
    assert.equal(await countAllowed(shared.windows, [tight, wide], 9), 2)
    const [state] = await shared.windows.hit([wide])
    assert.equal(state?.remaining, 7)
  })

  test('agree with the windows in memory, whatever the limits and the order', async () => {
    const redis = new Redis(redisUrl)
    try {
      const hit = createRedisWindows(redis)
      const memory = createMemoryWindows(() => 5)
      const names = Array.from({ length: 3 }, () => randomUUID())
      for (let step = 0; step < 120; step++) {
        const rules = names
          .filter((_, i) => (step * 7 + i * 3) % 4 !== 0)
          .map((subject, i) => rule(3 + ((step + i) % 30), dayMs, 'read', subject))
        if (rules.length === 0) continue
        const plain = ({ allowed, limit, remaining }: { allowed: boolean; limit: number; remaining: number }) => [
          allowed,
          limit,
          remaining,
        ]
        assert.deepEqual((await hit(rules)).map(plain), memory.hit(rules).map(plain))
      }
    } finally {
      redis.disconnect()
    }
  })

  test('a place is free again when its hit has left the window, and nothing stays behind', async () => {
    const redis = new Redis(redisUrl)
    try {
      const hit = createRedisWindows(redis)
      const short = rule(1, 40)
      const key = `hivesync:limit:${short.name}:${short.subject}`
      let [state] = await hit([short])
      assert.equal(state?.allowed, true)
      assert.ok((await redis.pttl(key)) <= 40)
      do [state] = await hit([short])
      while (!state?.allowed)
      // Redis tells when it is gone: no longer than the window after the last hit.
      while ((await redis.exists(key)) === 1) assert.ok((await redis.pttl(key)) <= 40)
    } finally {
      redis.disconnect()
    }
  })

  test('hits that have left the window make room while later ones are still in it', async () => {
    const redis = new Redis(redisUrl)
    try {
      const hit = createRedisWindows(redis)
      const read = rule(3, 3_600_000)
      const key = `hivesync:limit:${read.name}:${read.subject}`
      const [seconds] = await redis.time()
      const now = Number(seconds) * 1000
      await redis.rpush(key, now - 3_700_000, now - 3_600_000, now - 1_800_000)
      const [first, second, third] = [await hit([read]), await hit([read]), await hit([read])].flat()
      assert.deepEqual([first?.allowed, second?.allowed, third?.allowed], [true, true, false])
      // The oldest that is still there leaves in half an hour.
      assert.ok((third?.resetMs ?? 0) > 1_700_000 && (third?.resetMs ?? 0) <= 1_800_000)
      await redis.del(key)
    } finally {
      redis.disconnect()
    }
  })

  test('hits of what is now the future, after a failover to a slower clock, lock nobody out', async () => {
    const redis = new Redis(redisUrl)
    try {
      const hit = createRedisWindows(redis)
      const read = rule(3, 1000)
      const key = `hivesync:limit:${read.name}:${read.subject}`
      const hourLater = Date.now() + 3_600_000
      await redis.rpush(key, hourLater, hourLater + 1, hourLater + 2)
      const [state] = await hit([read])
      assert.equal(state?.allowed, false)
      assert.ok((state?.resetMs ?? 0) <= 1000)
      await redis.del(key)
    } finally {
      redis.disconnect()
    }
  })

  test('while Redis is cut off each replica grants its part, says so once, and all count together when it is back', async () => {
    await using road = await openRoad()
    await using shared = await openShared(road.url, { replicas: 2 })
    const read = rule(20)
    assert.equal(await countAllowed(shared.windows, [read], 1), 1)
    road.cut()
    assert.equal(await countAllowed(shared.windows, [read], 40), 10)
    assert.equal(shared.windows.state, 'degraded')
    assert.equal(shared.logged.filter((line) => line.includes('limits_degraded')).length, 1)
    road.mend()
    while (shared.windows.state === 'degraded') {
      shared.advance(1000)
      await shared.windows.hit([read])
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(shared.logged.filter((line) => line.includes('limits_shared')).length, 1)
    assert.ok((await countAllowed(shared.windows, [read], 40)) < 20)
  })

  test('a Redis that says nothing holds up the first requests for their time-out, and the others not at all', async () => {
    await using road = await openRoad()
    await using shared = await openShared(road.url, { patienceMs: 50 })
    road.silence()
    await shared.windows.hit([rule(5)])
    assert.equal(shared.windows.state, 'degraded')
    assert.ok(!(shared.windows.hit([rule(5)]) instanceof Promise))
    // After a second one of them tries, and no other waits with it.
    shared.advance(1000)
    const trying = shared.windows.hit([rule(5)])
    assert.ok(trying instanceof Promise)
    assert.ok(!(shared.windows.hit([rule(5)]) instanceof Promise))
    await trying
  })

  test('a server starts without it, says so at once and counts by itself', async () => {
    await using road = await openRoad()
    road.cut()
    await using shared = await openShared(road.url)
    assert.equal(shared.windows.state, 'degraded')
    assert.equal(await countAllowed(shared.windows, [rule(5)], 9), 5)
    assert.equal(shared.windows.state, 'degraded')
    assert.equal(shared.logged.filter((line) => line.includes('limits_degraded')).length, 1)
  })

  test('a password that Redis refuses is what the log says, once, and not the password', async () => {
    const url = new URL(redisUrl)
    url.username = 'nobody'
    url.password = 'amber-drones-hum'
    await using shared = await openShared(url.href)
    for (let i = 0; i < 3; i++) {
      assert.equal((await shared.windows.hit([rule(5)]))[0]?.allowed, true)
      shared.advance(1000)
    }
    assert.equal(shared.windows.state, 'degraded')
    const lines = shared.logged.filter((line) => line.includes('limits_degraded'))
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /WRONGPASS/)
    assert.doesNotMatch(shared.logged.join(''), /amber/)
  })

  test('a password that Redis refuses later is what the log says too', async () => {
    await using road = await openRoad()
    await using shared = await openShared(road.url)
    await shared.windows.hit([rule(5)])
    await road.refuse()
    await shared.windows.hit([rule(5)])
    assert.match(shared.logged.find((line) => line.includes('limits_degraded')) ?? '', /WRONGPASS/)
  })

  test('a primary that became a replica is left for the one that its address leads to now', async () => {
    await using road = await openRoad()
    await using shared = await openShared(road.url)
    road.demote()
    await shared.windows.hit([rule(5)])
    assert.equal(shared.windows.state, 'degraded')
    assert.match(shared.logged.join(''), /READONLY/)
    // Only connections that were open lead to the old one.
    while (shared.windows.state === 'degraded') {
      shared.advance(1000)
      await shared.windows.hit([rule(5)])
      await new Promise((resolve) => setImmediate(resolve))
    }
  })

  test('a Redis that was emptied in the middle of a window counts anew, and what it was asked stays whole', async () => {
    await using shared = await openShared(redisUrl)
    const redis = new Redis(redisUrl)
    try {
      const [read, wide] = [rule(5), rule(9)]
      assert.equal(await countAllowed(shared.windows, [read, wide], 9), 5)
      await redis.del(`hivesync:limit:${read.name}:${read.subject}`)
      // Redis also forgets scripts when it starts anew: they are sent again.
      await redis.script('FLUSH')
      assert.equal(await countAllowed(shared.windows, [read, wide], 9), 4)
      assert.equal(shared.windows.state, 'shared')
    } finally {
      redis.disconnect()
    }
  })
})

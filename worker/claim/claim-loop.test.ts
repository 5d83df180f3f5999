import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { openContractServer } from '../test-support/contract-server.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { createManualClock } from '../test-support/manual-clock.ts'
import { runClaimLoop } from './claim-loop.ts'

const isolation = { level: 'full' as const, layers: [], reason: null }

/** The loop with half of every backoff as its pause, and two slots. */
async function openLoop(t: TestContext, enrolled?: Awaited<ReturnType<typeof openEnrolled>>) {
  const clock = createManualClock(systemClock.nowMs())
  const { server, client, log, events } = enrolled ?? (await openEnrolled(t, { clock }))
  const stop = new AbortController()
  const claims: Claim[] = []
  const ready = Promise.withResolvers<void>()
  const slots = { free: 2, freed: Promise.withResolvers<void>() }
  const ended = runClaimLoop({
    ...{ client, clock, log, signal: stop.signal },
    random: { nonce: () => '', fraction: () => 0.5 },
    report: async () => ({ version: '1', labels: [], kinds: ['compute'], slots: 2, isolation }),
    freeSlots: () => slots.free,
    nextFreeSlot: () => slots.freed.promise,
    onClaim: (claim) => claims.push(claim),
    onReady: ready.resolve,
  })
  t.after(async () => {
    stop.abort()
    slots.freed.resolve()
    await ended
  })
  return { server, clock, claims, ready: ready.promise, slots, events }
}

test('the first poll answers at once and makes the worker ready; the next one waits for jobs', async (t) => {
  const { server, ready, claims } = await openLoop(t)
  await ready
  await server.until(() => server.requests.length === 1 && undefined === claims[0])
  const lease = server.submit('compute', { command: ['true'] })
  await server.until(() => claims.length === 1)
  assert.equal(claims[0]?.token, lease.claim.token)
  assert.deepEqual(
    server.requests.slice(0, 2).map((seen) => [seen.body.waitSeconds, seen.body.freeSlots]),
    [
      [0, 2],
      [25, 2],
    ],
  )
})

test('a server that goes away is tried again with growing pauses until it is back', async (t) => {
  const { server, ready, clock, claims, events } = await openLoop(t)
  await ready
  let nextWait = clock.nextWait()
  await server.close()
  for (const expectedMs of [250, 500, 1000, 2000, 4000, 8000, 15_000]) {
    assert.equal(await nextWait, expectedMs)
    nextWait = clock.nextWait()
    await clock.advance(expectedMs)
  }
  assert.equal(await nextWait, 15_000)
  const back = await openContractServer({ port: server.port, from: server })
  t.after(() => back.close())
  back.submit('compute', { command: ['true'] })
  await clock.advance(15_000)
  await back.until(() => claims.length === 1)
  assert.equal(events.filter(({ event }) => event === 'server_away').length, 1, 'told once, not per attempt')
  assert.ok(events.some(({ event }) => event === 'server_back'))
})

test('a full worker does not ask', async (t) => {
  const { server, ready, slots } = await openLoop(t)
  slots.free = 0
  await ready
  const asked = server.requests.length
  slots.free = 1
  slots.freed.resolve()
  await server.until(() => server.requests.length > asked)
  assert.equal(server.requests.at(-1)?.body.freeSlots, 1)
})

test('empty answers that come at once are no busy loop, and a broken one ends nothing', async (t) => {
  const clock = createManualClock(systemClock.nowMs())
  const enrolled = await openEnrolled(t, { clock })
  const answers: unknown[] = [{ jobs: [], draining: false }, { jobs: [], draining: false }, { nonsense: true }]
  enrolled.server.intercept = () => ({ status: 200, body: answers.shift() ?? { jobs: [], draining: true } })
  const loop = await openLoop(t, enrolled)
  for (const expectedMs of [1000, 500, 1000]) {
    const [waited] = loop.clock.waits.length > 0 ? loop.clock.waits.slice(-1) : [await loop.clock.nextWait()]
    assert.equal(waited, expectedMs)
    const next = loop.clock.nextWait()
    await loop.clock.advance(waited ?? 0)
    await next
  }
  assert.ok(loop.events.some(({ event }) => event === 'drain_requested'))
})

test('more jobs than slots are not taken', async (t) => {
  const clock = createManualClock(systemClock.nowMs())
  const enrolled = await openEnrolled(t, { clock })
  const jobs = [1, 2, 3].map((number) => enrolled.server.submit('compute', { command: [`${number}`] }).claim)
  enrolled.server.intercept = (_, seen) => {
    return enrolled.server.requests.indexOf(seen) === 0 ? { status: 200, body: { jobs, draining: false } } : undefined
  }
  const { ready, claims } = await openLoop(t, enrolled)
  await ready
  assert.equal(claims.length, 2)
})

/** The loop of a worker that may be idle for ten seconds; each poll takes two, and is answered from the list when the worker has been idle for as long as it says. */
async function runIdling(t: TestContext, answers: { idleMs: number | undefined; job?: true; draining?: true }[]) {
  let passedMs = 0
  const clock = { ...systemClock, monotonicMs: () => passedMs }
  const { server, client, log } = await openEnrolled(t, { clock })
  let idleMs: number | undefined = 0
  server.intercept = () => {
    const answer = answers.shift() ?? { idleMs: undefined }
    passedMs += 2000
    idleMs = answer.idleMs
    const jobs = answer.job ? [server.submit('compute', { command: ['true'] }).claim] : []
    return { status: 200, body: { jobs, draining: answer.draining === true } }
  }
  const claims: Claim[] = []
  const how = await runClaimLoop({
    ...{ client, clock, log, random: systemRandom, signal: t.signal },
    report: async () => ({ version: '1', labels: [], kinds: ['compute'], slots: 2, isolation }),
    freeSlots: () => 2,
    nextFreeSlot: () => Promise.resolve(),
    onClaim: (claim) => claims.push(claim),
    onReady: () => {},
    exitWhenIdle: { afterMs: 10_000, watch: { touch() {}, idleMs: () => idleMs } },
  })
  return { how, claims, left: answers.length, waits: server.requests.map((seen) => seen.body.waitSeconds) }
}

test('a worker that may be idle for ten seconds waits no longer than is left of them, and ends after an empty answer', async (t) => {
  const answers = [{ idleMs: 0 }, { idleMs: 4100 }, { idleMs: undefined }, { idleMs: 9999 }, { idleMs: 10_000 }]
  const { how, waits } = await runIdling(t, answers)
  assert.deepEqual([how, waits], ['idle', [0, 10, 6, 10, 1]])
})

test('a job that comes in the last moment is taken, and the worker goes on', async (t) => {
  const { how, claims, left } = await runIdling(t, [{ idleMs: 0 }, { idleMs: 10_000, job: true }, { idleMs: 10_000 }])
  assert.deepEqual([how, claims.length, left], ['idle', 1, 0])
})

test('a drained worker that would end when idle ends as soon as it holds nothing', async (t) => {
  const answers = [
    { idleMs: undefined, draining: true as const },
    { idleMs: undefined, draining: true as const },
    { idleMs: 0, draining: true as const },
  ]
  const { how, left } = await runIdling(t, answers)
  assert.deepEqual([how, left], ['idle', 0])
})

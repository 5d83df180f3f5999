import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { createManualClock } from '../test-support/manual-clock.ts'
import { createLeases } from './leases.ts'
import { openProgress } from './progress.ts'
import { createRedactor } from './redactor.ts'

async function open(t: TestContext) {
  const clock = createManualClock(systemClock.nowMs())
  const { server, client, log } = await openEnrolled(t, { clock })
  const made = server.submit('compute', {})
  const lease = createLeases({ clock, log }).hold(made.claim)
  const progress = openProgress({
    client,
    lease,
    clock,
    log,
    redactor: createRedactor({ secrets: { A: 'sesame-open' } }),
  })
  t.after(() => progress.close())
  return { server, clock, made, lease, progress }
}

test('of many reports only the newest of each phase is sent, in order, and the last one always', async (t) => {
  const { made, progress } = await open(t)
  for (let percent = 0; percent <= 100; percent += 1) progress.report({ phase: 'fetch', progress: percent })
  for (let percent = 0; percent <= 70; percent += 1) progress.report({ phase: 'read', progress: percent })
  await progress.close()
  assert.deepEqual(made.progress, [
    { phase: 'fetch', progress: 100 },
    { phase: 'read', progress: 70 },
  ])
})

test('between two reports lies half a second', async (t) => {
  const { server, clock, made, progress } = await open(t)
  const pause = clock.nextWait() // the call's own time limit
  progress.report({ phase: 'run', progress: 1 })
  await pause
  await server.until(() => clock.waits.includes(500) || made.progress.length === 1)
  while (!clock.waits.includes(500)) await clock.nextWait()
  progress.report({ phase: 'run', progress: 2 })
  await clock.advance(499)
  assert.equal(made.progress.length, 1)
  await clock.advance(1)
  await server.until(() => made.progress.length === 2)
})

test('progress of a lost lease stops the job', async (t) => {
  const { made, lease, progress } = await open(t)
  made.verdict = 'lost'
  progress.report({ phase: 'run' })
  await progress.close()
  assert.equal(lease.stopReason, 'lost')
})

test('a message holds no secret, and is no longer than the server takes', async (t) => {
  const { made, progress } = await open(t)
  progress.report({ phase: 'run', message: `from sesame-open ${'x'.repeat(284)}` })
  await progress.close()
  assert.deepEqual(made.progress, [{ phase: 'run', message: `from [redacted] ${'x'.repeat(284)}`.slice(0, 300) }])
})

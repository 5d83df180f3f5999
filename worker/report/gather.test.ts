import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../enrol/random.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { gatherLeaseCalls } from './lease-calls.ts'
import { persist } from './persistence.ts'

const never = new AbortController().signal
const operationsOf = (server: Awaited<ReturnType<typeof openEnrolled>>['server']) =>
  server.requests.map(({ operation }) => operation)

test('what is due in the same moment goes as one request, and one alone as the single call', async (t) => {
  const { server, client } = await openEnrolled(t)
  const gathered = gatherLeaseCalls(client, never)
  const leases = [1, 2, 3].map(() => server.submit('compute', {}))
  await Promise.all(leases.map(({ claim }) => gathered.startLease(claim.token)))
  await Promise.all(leases.map(({ claim }) => gathered.completeLease(claim.token, { outcome: 'succeeded' })))
  const { token } = server.submit('compute', {}).claim
  await gathered.startLease(token)
  await gathered.completeLease(token, { outcome: 'failed' })
  assert.deepEqual(operationsOf(server), ['startLeases', 'completeLeases', 'startLease', 'completeLease'])
  assert.deepEqual(
    leases.map(({ started, completions }) => [started, completions]),
    [1, 2, 3].map(() => [true, 1]),
  )
})

test('each gets its own answer: a lost lease fails alone', async (t) => {
  const { server, client } = await openEnrolled(t)
  const gathered = gatherLeaseCalls(client, never)
  const [kept, lost] = [server.submit('compute', {}), server.submit('compute', {})]
  lost.verdict = 'lost'
  const answers = await Promise.allSettled(
    [kept, lost].map(({ claim }) => gathered.completeLease(claim.token, { outcome: 'succeeded' })),
  )
  assert.deepEqual(answers[0], {
    status: 'fulfilled',
    value: { token: 1, jobId: kept.claim.jobId, state: 'succeeded' },
  })
  assert.equal(answers[1]?.status === 'rejected' && answers[1].reason.code, 'lease_lost')
})

test('a batch that is lost on the way is sent again, and each completion is accepted once', async (t) => {
  const { server, client } = await openEnrolled(t)
  const gathered = gatherLeaseCalls(client, never)
  let failures = 2
  server.intercept = () => (failures-- > 0 ? 'hang up' : undefined)
  const leases = Array.from({ length: 100 }, () => server.submit('compute', {}))
  const random = { nonce: systemRandom.nonce, fraction: () => 0 }
  const retrying = { clock: systemClock, random, signal: never }
  await Promise.all(
    leases.map(({ claim }) => persist(() => gathered.completeLease(claim.token, { outcome: 'succeeded' }), retrying)),
  )
  assert.ok(leases.every(({ completions }) => completions === 1))
  assert.ok(server.requests.length <= 6, `${server.requests.length} requests for 100 completions`)
})

test('large results are spread over batches of at most a mebibyte', async (t) => {
  const { server, client } = await openEnrolled(t)
  const gathered = gatherLeaseCalls(client, never)
  const result = { text: 'x'.repeat(200_000) }
  const leases = Array.from({ length: 8 }, () => server.submit('compute', {}))
  await Promise.all(leases.map(({ claim }) => gathered.completeLease(claim.token, { outcome: 'succeeded', result })))
  assert.ok(leases.every(({ completions }) => completions === 1))
  assert.equal(server.requests.length, 3)
})

test('who gives up sees its own reason; the others of its batch are not touched', async (t) => {
  const { server, client } = await openEnrolled(t)
  const gathered = gatherLeaseCalls(client, never)
  const [one, two] = [server.submit('compute', {}), server.submit('compute', {})]
  const stop = new AbortController()
  const given = gathered.startLease(one.claim.token, { signal: stop.signal })
  const kept = gathered.startLease(two.claim.token)
  stop.abort(new Error('stopped'))
  await assert.rejects(given, /stopped/)
  await kept
  assert.equal(two.started, true)
})

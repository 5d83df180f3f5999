import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/worker-protocol.ts'
import { signOff } from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { testId } from '../test-support/contract-request.ts'
import { openEnrolled } from '../test-support/enrolled-client.ts'
import { ServerAway } from './http-transport.ts'
import { ReplyInvalid } from './replies.ts'
import { CallRefused } from './signed-call.ts'

const isolation = { level: 'full' as const, layers: ['namespaces'], reason: null }
const poll: Parameters<Awaited<ReturnType<typeof openEnrolled>>['client']['claimJobs']>[0] = {
  report: { version: '1', labels: [], kinds: ['compute'], slots: 1, isolation },
  freeSlots: 1,
  waitSeconds: 0,
}

test('every call passes a server that verifies signatures and bodies by the contract', async (t) => {
  const { server, client } = await openEnrolled(t)
  const { token } = server.submit('compute', { command: ['true'] }).claim
  assert.equal((await client.claimJobs(poll)).jobs[0]?.token, token)
  await client.startLease(token)
  await client.reportProgress(token, { phase: 'run', progress: 5 })
  const chunk = { seq: 0, stream: 'stdout', at: 1, text: 'x' } as const
  assert.deepEqual(await client.appendLog(token, { chunks: [chunk] }), { nextSeq: 1, truncated: false })
  await client.uploadIndex(token, { batch: 0, files: [{ path: 'a', language: null, text: 'b' }] })
  assert.equal((await client.heartbeat({ leases: [token] })).leases[0]?.verdict, 'ok')
  assert.equal((await client.completeLease(token, { outcome: 'succeeded' })).state, 'succeeded')
  assert.deepEqual(await client.startLeases([token]), [{ token, verdict: 'ok' }])
  const completions = [{ token, outcome: 'succeeded' as const }]
  assert.deepEqual(
    (await client.completeLeases(completions)).map((answer) => 'state' in answer && answer.state),
    ['succeeded'],
  )
  const publicKey = generateEncodedKeyPair().publicKey
  await assert.rejects(client.rotateKey({ publicKey, proof: 'A'.repeat(86) }), { code: 'worker_key_refused' })
  await client.signOff()
  const signed = [...Object.values(contract), signOff].filter(
    (value) => typeof value === 'object' && 'access' in value && value.access === 'worker',
  )
  assert.equal(new Set(server.requests.map((seen) => seen.operation)).size, signed.length)
})

test('no nonce is ever sent twice, also when a call is repeated', async (t) => {
  const { server, client } = await openEnrolled(t)
  server.intercept = () => 'hang up'
  for (let attempt = 0; attempt < 3; attempt += 1) await assert.rejects(client.claimJobs(poll), ServerAway)
  server.intercept = undefined
  await client.claimJobs(poll)
  const nonces = server.requests.map((seen) => seen.nonce)
  assert.equal(new Set(nonces).size, 4)
  assert.ok(!nonces.includes(undefined))
})

test('a clock that is an hour off is corrected from the server within the same call', async (t) => {
  const { server, client } = await openEnrolled(t, { offsetMs: 3_600_000 })
  await client.claimJobs(poll)
  await client.claimJobs(poll)
  assert.equal(server.requests.length, 3)
})

test('a server that calls every signature expired is asked twice, not forever', async (t) => {
  const { server, client } = await openEnrolled(t)
  server.intercept = () => ({ status: 401, body: { code: 'signature_expired' } })
  await assert.rejects(client.claimJobs(poll), (error) => error instanceof CallRefused && error.status === 401)
  assert.equal(server.requests.length, 2)
})

test('a reply that is not as agreed is refused', async (t) => {
  const { server, client } = await openEnrolled(t)
  const job = { token: 1, jobId: testId(1), projectId: testId(2), kind: 'compute', input: {}, attempt: 1 }
  const timing = { leaseTtlSeconds: 60, startWithinSeconds: 30 }
  const whole = { ...job, ...timing }
  const wrong: unknown[] = [
    null,
    [],
    { jobs: [] },
    { jobs: {}, draining: false },
    { jobs: [{ ...whole, token: 0 }], draining: false },
    { jobs: [{ ...whole, token: 2 ** 60 }], draining: false },
    { jobs: [{ ...whole, projectId: '../../etc' }], draining: false },
    { jobs: [{ ...whole, kind: 'shell' }], draining: false },
    { jobs: [{ ...whole, input: 'rm' }], draining: false },
    { jobs: [{ ...whole, leaseTtlSeconds: -1 }], draining: false },
    { jobs: [whole, whole], draining: false },
    { jobs: [{ ...whole, secrets: ['x'] }], draining: false },
    {
      jobs: [{ ...whole, bundle: { id: testId(3), bytes: 1, unpackedBytes: 1, entries: 1, sha256: '../x' } }],
      draining: false,
    },
    { jobs: [{ ...whole, egress: { hosts: 'all', maxBytes: 1, maxSeconds: 1 } }], draining: false },
  ]
  for (const body of wrong) {
    server.intercept = () => ({ status: 200, body })
    await assert.rejects(client.claimJobs(poll), ReplyInvalid, JSON.stringify(body))
  }
  server.intercept = () => ({ status: 200, body: { jobs: [whole], draining: false, later: 'addition' } })
  assert.equal((await client.claimJobs(poll)).jobs.length, 1)
})

test('an endless reply, a redirect and a page of a proxy are refused', async (t) => {
  const { server, client } = await openEnrolled(t)
  server.intercept = () => ({ status: 200, body: { jobs: [], draining: false, padding: 'x'.repeat(2_000_000) } })
  await assert.rejects(client.claimJobs(poll), ServerAway)
  server.intercept = () => ({ status: 302, headers: { location: `${server.origin}/api/v1/worker/heartbeat` } })
  await assert.rejects(client.claimJobs(poll), (error) => error instanceof CallRefused && error.status === 302)
  server.intercept = () => ({ status: 503, body: 'down', headers: { 'retry-after': '7' } })
  await assert.rejects(client.claimJobs(poll), (error) => {
    return error instanceof CallRefused && error.code === 'unknown' && error.retryAfterMs === 7000
  })
  assert.equal(server.requests.length, 3)
})

test('a worker the server does not know is told so once', async (t) => {
  const { server, client, revoked } = await openEnrolled(t)
  server.workers.clear()
  await assert.rejects(
    client.claimJobs(poll),
    (error) => error instanceof CallRefused && error.code === 'worker_revoked',
  )
  assert.ok(revoked())
})

test('a call ends with its signal and with its time limit', async (t) => {
  const { server, client } = await openEnrolled(t)
  const abort = new AbortController()
  const call = client.claimJobs({ ...poll, waitSeconds: 30 }, { signal: abort.signal })
  await server.until(() => server.requests.length > 0)
  abort.abort(new Error('stopped'))
  await assert.rejects(call, /stopped/)
  await assert.rejects(client.claimJobs({ ...poll, waitSeconds: 30 }, { timeoutMs: 20 }), ServerAway)
})

test('what a claim brings beside its input is read: secrets, bundle, egress', async (t) => {
  const { server, client } = await openEnrolled(t)
  const more = {
    secrets: { TOKEN: 'value' },
    bundle: { id: testId(3), bytes: 1, unpackedBytes: 2, entries: 3, sha256: 'a'.repeat(64) },
    egress: { hosts: ['registry.npmjs.org'], maxBytes: 1, maxSeconds: 2 },
  }
  server.submit('compute', {}, more)
  const [claim] = (await client.claimJobs(poll)).jobs
  assert.deepEqual({ secrets: claim?.secrets, bundle: claim?.bundle, egress: claim?.egress }, more)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { getJob, submitJob } from '@hivesync/contracts/jobs.ts'
import { getHealth } from '@hivesync/contracts/service.ts'
import { HiveSyncError } from './index.ts'
import { openClient } from './test-support/open-client.ts'
import { Refusal, startPeer } from './test-support/peer.ts'
import { idOf, jobOf, project, user } from './test-support/samples.ts'

const credentials = { kind: 'api-key', apiKey: 'hs_key' } as const

function hasCode(code: string, more: Partial<HiveSyncError> = {}) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof HiveSyncError, String(error))
    assert.equal(error.code, code)
    for (const [name, value] of Object.entries(more)) assert.deepEqual(error[name as keyof HiveSyncError], value)
    return true
  }
}

test('a call sends what the contract declares and resolves with its reply', async () => {
  await using peer = await startPeer()
  peer.on(submitJob, ({ params, body, headers }) => {
    assert.equal(params.projectId, project.id)
    assert.deepEqual(body, { kind: 'compute', input: { command: ['true'] } })
    assert.equal(headers.authorization, 'Bearer hs_key')
    assert.equal(headers['idempotency-key'], 'once')
    return jobOf()
  })
  const client = openClient({ server: peer.url, credentials })
  const job = await client.call(submitJob, {
    params: { projectId: project.id },
    body: { kind: 'compute', input: { command: ['true'] } },
    idempotencyKey: 'once',
  })
  assert.equal(job.id, jobOf().id)
})

test('an id that would address another operation is refused before anything is sent', async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials })
  for (const jobId of ['..', '', 'x/../../y', `${idOf(1)}/cancel`]) {
    await assert.rejects(client.call(getJob, { params: { jobId } }), hasCode('invalid_request'))
  }
  assert.deepEqual(peer.seen, [])
})

test('a public operation carries no credentials', async () => {
  await using peer = await startPeer()
  peer.on(getHealth, ({ headers }) => {
    assert.equal(headers.authorization, undefined)
    return { status: 'ok' as const }
  })
  await openClient({ server: peer.url, credentials }).call(getHealth)
})

test('a refusal keeps its code, status, request id and waiting time', async () => {
  await using peer = await startPeer()
  peer.on(getMe, () => {
    throw new Refusal('queue_full', { 'retry-after': '30' })
  })
  const expected = { status: 429, requestId: 'req-1', retryAfterSeconds: 30 }
  await assert.rejects(openClient({ server: peer.url, credentials }).call(getMe), hasCode('queue_full', expected))
})

test("a proxy's page is not taken for a reply, whatever its status", async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials })
  for (const status of [200, 404, 502]) {
    peer.onRaw(getMe, (_, response) => response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Oops</h1>'))
    await assert.rejects(client.call(getMe), hasCode('unexpected_reply', { status }))
  }
  peer.onRaw(getMe, (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":'))
  await assert.rejects(client.call(getMe), hasCode('unexpected_reply'))
})

test('a problem document that names another status, or is none, is not believed', async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials })
  const problem = { type: 'x', title: 'x', code: 'job_not_found', requestId: 'r', status: 200 }
  for (const body of [JSON.stringify(problem), '[]', '{"status":404}', 'null', '']) {
    const type = { 'content-type': 'application/problem+json' }
    peer.onRaw(getMe, (_, response) => response.writeHead(404, type).end(body))
    await assert.rejects(client.call(getMe), hasCode('unexpected_reply', { status: 404 }))
  }
})

test('what a newer server adds is dropped; what it changes is refused', async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials })
  const type = { 'content-type': 'application/json' }
  peer.onRaw(getMe, (_, response) => response.writeHead(200, type).end(JSON.stringify({ ...user, karma: 3 })))
  assert.deepEqual(await client.call(getMe), user)
  peer.onRaw(getMe, (_, response) => response.writeHead(200, type).end(JSON.stringify({ ...user, username: 3 })))
  await assert.rejects(client.call(getMe), hasCode('unexpected_reply'))
})

test('a redirect is not followed: credentials stay with the server they are for', async () => {
  await using elsewhere = await startPeer()
  await using peer = await startPeer()
  peer.onRaw(getMe, (_, response) => response.writeHead(307, { location: `${elsewhere.url}/api/v1/auth/me` }).end())
  await assert.rejects(openClient({ server: peer.url, credentials }).call(getMe), hasCode('redirected'))
  assert.deepEqual(elsewhere.seen, [])
})

test('a reply larger than the cap is cut off', async () => {
  await using peer = await startPeer()
  peer.onRaw(getMe, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`"${'x'.repeat(100_000)}"`)
  })
  const client = openClient({ server: peer.url, credentials, maxReplyBytes: 1000 })
  await assert.rejects(client.call(getMe), hasCode('reply_too_large'))
})

test('a server that is silent, before or within its reply, times out', async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials, timeoutMs: 50 })
  peer.onRaw(getMe, () => {})
  await assert.rejects(client.call(getMe), hasCode('timed_out'))
  peer.onRaw(getMe, (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).write('{'))
  await assert.rejects(client.call(getMe), hasCode('timed_out'))
})

test('a server that is not there is unreachable, with the reason of the system', async () => {
  const peer = await startPeer()
  const { url } = peer
  await peer[Symbol.asyncDispose]()
  const unreachable = hasCode('unreachable', { detail: `${url} (ECONNREFUSED)`, status: null })
  await assert.rejects(openClient({ server: url, credentials }).call(getMe), unreachable)
})

test("the caller's abort is the caller's own", async () => {
  await using peer = await startPeer()
  const abort = new AbortController()
  peer.onRaw(getMe, () => abort.abort(new Error('enough')))
  await assert.rejects(openClient({ server: peer.url, credentials }).call(getMe, { signal: abort.signal }), {
    message: 'enough',
  })
})

test('credentials travel over http: only to this machine, unless it is said', () => {
  const open = (server: string, allowHttp = false) => openClient({ server, credentials, allowHttp }).server
  assert.equal(open('http://localhost:7070/'), 'http://localhost:7070')
  assert.equal(open('http://127.1.2.3'), 'http://127.1.2.3')
  assert.equal(open('https://hive.example.net/base/'), 'https://hive.example.net/base')
  assert.equal(open('http://10.0.0.1', true), 'http://10.0.0.1')
  for (const server of ['http://10.0.0.1', 'http://127.0.0.1.example.net', 'http://localhost.example.net']) {
    assert.throws(() => open(server), hasCode('insecure_server'))
  }
  for (const server of ['', 'hive', 'ftp://x', 'file:///x', 'https://a:b@x', 'https://x/?a', 'https://x/#a']) {
    assert.throws(() => open(server), hasCode('unreadable_address'))
  }
})

// The real process, told to stop while it has work: what is under way ends well, and the process with 0.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, test } from 'node:test'
import { generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'

const setupToken = generateSecret()
const json = { 'content-type': 'application/json' }
const started = new Set<ChildProcess>()
const folders: string[] = []
after(() => {
  for (const child of started) child.kill('SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

interface Running {
  url: string
  folder: string
  child: ChildProcess
  /** The exit code and signal. */
  ended: Promise<unknown[]>
  log: string[]
}

async function startServer(): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-stop-'))
  folders.push(folder)
  const script = `import { serveCommand } from './server/commands/serve.ts'; process.exitCode = await serveCommand([])`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HIVESYNC_PORT: '0', HIVESYNC_DATA: folder, HIVESYNC_SETUP_TOKEN: setupToken },
  })
  started.add(child)
  const ended = once(child, 'close').finally(() => started.delete(child))
  const log: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
  const lines = createInterface({ input: child.stdout })
  const [line] = await Promise.race([once(lines, 'line'), ended.then(() => [`ended: ${log.join('\n')}`])])
  const { event, url } = JSON.parse(String(line))
  assert.equal(event, 'listening')
  return { url, folder, child, ended, log }
}

async function post(url: string, body: unknown, token?: string): Promise<Record<string, never>> {
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const reply = await fetch(url, { method: 'POST', headers: { ...json, ...authorization }, body: JSON.stringify(body) })
  const text = await reply.text()
  assert.ok(reply.ok, `${url} ${reply.status} ${text}`)
  return JSON.parse(text)
}

/** A session of the admin, a job that no worker can take, and a worker. */
async function furnish(url: string) {
  const account = { username: 'queen', email: 'queen@example.net', password: 'nine amber drones hum at noon' }
  await post(`${url}/api/v1/setup`, { setupToken, ...account })
  const login = { login: 'queen', password: account.password }
  const token: string = (await post(`${url}/api/v1/auth/login`, login)).accessToken ?? ''
  const projectId: string = (await post(`${url}/api/v1/projects`, { name: 'honeycomb' }, token)).id ?? ''
  const job = { kind: 'compute', input: { command: ['true'] }, labels: ['nowhere'] }
  const jobId: string = (await post(`${url}/api/v1/projects/${projectId}/jobs`, job, token)).id ?? ''
  const pair = generateEncodedKeyPair()
  const enrolmentToken = (await post(`${url}/api/v1/workers/enrolments`, {}, token)).enrolmentToken
  const enrolment = { enrolmentToken, name: 'drone', publicKey: pair.publicKey }
  const workerId: string = (await post(`${url}/api/v1/worker/enrol`, enrolment)).workerId ?? ''
  return { token, projectId, jobId, workerId, key: importPrivateKey(pair) }
}

function longPoll(url: string, { workerId, key }: Awaited<ReturnType<typeof furnish>>): Promise<Response> {
  const isolation = { level: 'full', layers: [], reason: null }
  const report = { version: '0.1.0', labels: [], kinds: ['compute'], slots: 1, isolation }
  const body = Buffer.from(JSON.stringify({ report, freeSlots: 1, waitSeconds: 30 }))
  const target = '/api/v1/worker/claims'
  const createdSeconds = Math.floor(Date.now() / 1000)
  const nonce = generateSecret().slice(0, 24)
  const signed = signRequest({ method: 'POST', target, body, keyId: workerId, key, createdSeconds, nonce })
  return fetch(url + target, { method: 'POST', headers: { ...json, ...signed }, body })
}

/** Resolves when the worker's poll has reached the database: from then on it waits. */
async function polling(url: string, token: string): Promise<void> {
  for (;;) {
    const reply = await fetch(`${url}/api/v1/workers`, { headers: { authorization: `Bearer ${token}` } })
    const { items } = (await reply.json()) as { items?: { lastSeenAt: string | null }[] }
    if (items?.[0]?.lastSeenAt != null) return
    assert.equal(reply.status, 200)
  }
}

describe('SIGTERM', () => {
  test('ends polls, streams and idle connections, closes the database, and the process with 0', async () => {
    const server = await startServer()
    const things = await furnish(server.url)
    const authorization = `Bearer ${things.token}`

    const events = await fetch(`${server.url}/api/v1/jobs/${things.jobId}/events`, { headers: { authorization } })
    assert.equal(events.status, 200)
    const stream = events.text()
    const poll = longPoll(server.url, things)
    const idle = connect({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    idle.on('error', () => {}) // however it is ended
    const hungUp = once(idle, 'close')
    idle.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(idle, 'data')
    await polling(server.url, things.token)

    server.child.kill('SIGTERM')
    const polled = await poll
    assert.equal(polled.status, 200)
    assert.deepEqual(((await polled.json()) as { jobs: unknown }).jobs, [])
    assert.match(await stream, /event: state/)
    await hungUp
    assert.deepEqual(await server.ended, [0, null], server.log.join('\n'))
    // SQLite removes its log when the last connection closes it properly.
    assert.ok(existsSync(join(server.folder, 'hivesync.db')))
    assert.ok(!existsSync(join(server.folder, 'hivesync.db-wal')))
    assert.ok(server.log.some((line) => line.includes('"stopped"')))
    assert.deepEqual(
      server.log.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })

  test('loses no request under way: each is answered, or its connection refused', async () => {
    const server = await startServer()
    const { token, projectId } = await furnish(server.url)
    const submit = (n: number) =>
      post(`${server.url}/api/v1/projects/${projectId}/jobs`, { kind: 'compute', input: { command: [`${n}`] } }, token)
    const submitted = Array.from({ length: 8 }, (_, n) => submit(n))
    await Promise.race(submitted)
    server.child.kill('SIGTERM')
    const outcomes = await Promise.allSettled(submitted)
    for (const outcome of outcomes) {
      // fetch's own error: the connection was never opened. A reply with an error status would be another.
      if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof TypeError, String(outcome.reason))
    }
    assert.deepEqual(await server.ended, [0, null], server.log.join('\n'))
  })
})

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type TestContext, test } from 'node:test'
import { createMetrics } from './metrics.ts'
import { serveMetrics } from './serve.ts'

const gauges = {
  ...{ slots: 4, running: 1, outboxResults: 2, outboxBytes: 4096, taking: true },
  ...{ lastContactSeconds: 1.5, clockSkewSeconds: undefined },
}

/** A port nobody listens at. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function open(t: TestContext) {
  const port = await freePort()
  const metrics = createMetrics()
  const state: { trouble: string | undefined } = { trouble: undefined }
  const endpoint = await serveMetrics({ port, text: () => metrics.text(gauges), trouble: () => state.trouble })
  t.after(() => endpoint.close())
  const get = (path: string, options: { host?: string; method?: string; at?: string } = {}) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const headers = { host: options.host ?? `127.0.0.1:${port}` }
      const target = { host: options.at ?? '127.0.0.1', port, path, method: options.method ?? 'GET', headers }
      const outgoing = request({ ...target, agent: false, timeout: 10_000 }, (incoming) => {
        let text = ''
        incoming.on('data', (chunk) => (text += chunk))
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }))
      })
      outgoing.on('error', reject)
      outgoing.end()
    })
  return { port, metrics, state, get }
}

/** The text format as its specification has it: a type before the samples of a family, each family in one piece. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>()
  let family = ''
  const seen = new Set<string>()
  for (const line of text.split('\n').slice(0, -1)) {
    const head = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line)
    if (head?.[1] === 'TYPE') {
      assert.ok(['gauge', 'counter', 'summary'].includes(head[3] ?? ''), line)
      family = head[2] ?? ''
      assert.equal(seen.has(family), false, `${family} twice`)
      seen.add(family)
    }
    if (head !== null) continue
    const sample = /^([a-z_]+)(\{[a-z]+="[a-z]+"\})? (NaN|-?[0-9.e+-]+)$/.exec(line)
    const [, name = '', labels = '', value] = sample ?? []
    assert.ok(sample !== null && name.startsWith(family) && family !== '', line)
    samples.set(`${name}${labels}`, Number(value))
  }
  assert.ok(text.endsWith('\n'))
  return samples
}

test('the figures are Prometheus text, and counted by outcome', async (t) => {
  const { metrics, get } = await open(t)
  metrics.jobEnded('succeeded')
  metrics.jobEnded('succeeded')
  metrics.jobEnded('failed')
  metrics.sandboxRan(0.25)
  const samples = parse((await get('/metrics')).text)
  const of = (name: string) => samples.get(`hivesync_worker_${name}`)
  assert.deepEqual(
    [of('slots'), of('running'), of('outbox_bytes'), of('taking_jobs'), of('last_contact_seconds')],
    [4, 1, 4096, 1, 1.5],
  )
  assert.ok(Number.isNaN(of('clock_skew_seconds')))
  assert.deepEqual([of('jobs_ended_total{outcome="succeeded"}'), of('jobs_ended_total{outcome="failed"}')], [2, 1])
  assert.deepEqual([of('sandbox_overhead_seconds_sum'), of('sandbox_overhead_seconds_count')], [0.25, 1])
})

test('a page that has its own name lead here (DNS rebinding) is refused, and so is anything but GET', async (t) => {
  const { port, get } = await open(t)
  for (const host of [
    'evil.example.net',
    `evil.example.net:${port}`,
    '127.0.0.1',
    `127.0.0.1:${port + 1}`,
    'localhost',
  ])
    assert.equal((await get('/metrics', { host })).status, 421, host)
  assert.equal((await get('/metrics', { host: `localhost:${port}` })).status, 200)
  assert.equal((await get('/metrics', { method: 'POST' })).status, 405)
  assert.equal((await get('/metrics?x=1')).status, 404)
})

test('health says what is wrong', async (t) => {
  const { state, get } = await open(t)
  assert.deepEqual(await get('/health'), { status: 200, text: 'ok\n' })
  state.trouble = 'the disk is full'
  assert.deepEqual(await get('/health'), { status: 503, text: 'the disk is full\n' })
})

test('no other address of this machine answers', async (t) => {
  const { port, get } = await open(t)
  const others = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
  for (const { address } of [...others, { address: '127.0.0.2' }])
    await assert.rejects(get('/metrics', { at: address, host: `127.0.0.1:${port}` }), { code: 'ECONNREFUSED' }, address)
})

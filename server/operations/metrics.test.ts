import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import { getMetrics } from '@hivesync/contracts/scaling.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, start, submitted, take } from '../../test/harness/jobs.ts'
import { readMetrics } from '../../test/harness/metrics.ts'
import { countJobs, reapLeases } from '../jobs/jobs.ts'
import { consumeOutbox } from '../outbox/outbox.ts'
import { createMemoryWindows } from '../platform/limits/memory-windows.ts'
import { createMetricsPage, listenForMetrics, taskEnded, taskStarts } from './operations.ts'

async function figures(hive: Hive): Promise<Map<string, number>> {
  const { token } = await hive.admin()
  const reply = await hive.inject({ url: getMetrics.path, headers: { authorization: `Bearer ${token}` } })
  assert.equal(reply.statusCode, 200)
  return readMetrics(reply.body)
}

/** How much each figure has grown; what has not is not there. */
function growth(before: Map<string, number>, after: Map<string, number>): Record<string, number> {
  const grown = [...after].map(([series, value]) => [series, value - (before.get(series) ?? 0)] as const)
  return Object.fromEntries(grown.filter(([, value]) => value !== 0))
}

describeHive('metrics', (open) => {
  test('count requests by operation and class of status, and refusals by code', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const before = await figures(hive)
    await hive.call(accounts.getMe, { token: ada.token })
    await hive.call(accounts.getMe)
    await hive.call(sessions.logIn, { body: { login: 'ada', password: 'no amber drone hums at noon' } })
    const grown = growth(before, await figures(hive))
    assert.equal(grown['hivesync_requests_total{operation="getMe",method="GET",status="2xx"}'], 1)
    assert.equal(grown['hivesync_requests_total{operation="getMe",method="GET",status="4xx"}'], 1)
    assert.equal(grown['hivesync_refusals_total{code="authentication_required"}'], 1)
    assert.equal(grown['hivesync_refusals_total{code="invalid_credentials"}'], 1)
    assert.equal(grown['hivesync_request_seconds_count{operation="getMe"}'], 2)
    assert.equal(grown['hivesync_request_seconds_bucket{operation="getMe",le="+Inf"}'], 2)
  })

  test('have each series that an alert asks for from the start, at 0', async () => {
    await using hive = await open()
    const found = await figures(hive)
    for (const { name, method } of operations.values())
      for (const status of ['2xx', '4xx', '5xx'])
        assert.ok(found.has(`hivesync_requests_total{operation="${name}",method="${method}",status="${status}"}`), name)
    for (const series of [
      'hivesync_refusals_total{code="login_throttled"}',
      'hivesync_limit_refusals_total{policy="auth"}',
      'hivesync_limit_refusals_total{policy="read-network"}',
      'hivesync_jobs_ended_total{kind="compute",state="failed"}',
      'hivesync_attempts_lost_total{reason="silent"}',
      'hivesync_metrics_unread_total{group="workers"}',
      'hivesync_counter_drift_total',
    ])
      assert.equal(found.get(series), 0, series)
  })

  test('count a refusal by a limit under the name of its policy', async () => {
    await using hive = await open({ config: { rateScale: 1 } })
    await hive.admin()
    const before = await figures(hive)
    for (let i = 0; i < 101; i++) await hive.inject({ url: `/nowhere/${i}` })
    const grown = growth(before, await figures(hive))
    assert.equal(grown['hivesync_limit_refusals_total{policy="read"}'], 1)
    assert.equal(grown['hivesync_refusals_total{code="rate_limited"}'], 1)
  })

  test('count jobs by kind and final state, what a claim took, and the attempts that were lost', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const tell = () => consumeOutbox(hive.ctx, [], [countJobs])
    await tell()
    const before = await figures(hive)
    await submitted(hive, ada, projectId)
    await complete(worker, await take(worker))
    await submitted(hive, ada, projectId)
    await start(worker, await take(worker))
    hive.clock.advance(600_000)
    await reapLeases(hive.ctx)
    await tell()
    const grown = growth(before, await figures(hive))
    assert.equal(grown['hivesync_jobs_submitted_total{kind="compute"}'], 2)
    assert.equal(grown['hivesync_jobs_ended_total{kind="compute",state="succeeded"}'], 1)
    assert.equal(grown['hivesync_attempts_lost_total{reason="silent"}'], 1)
    assert.equal(grown.hivesync_claimed_jobs_count, 2)
    assert.equal(grown.hivesync_claimed_jobs_sum, 2)
    // Ten minutes of silence.
    assert.equal((await figures(hive)).get('hivesync_workers{state="away"}'), 1)
  })

  test('tell of background tasks that fail, and since when', async () => {
    await using hive = await open()
    taskStarts(hive.ctx, 'sweep', 60_000)
    const startedAt = hive.clock.now() / 1000
    hive.clock.advance(90_000)
    taskEnded(hive.ctx, 'sweep', 'failed')
    const found = await figures(hive)
    assert.equal(found.get('hivesync_task_failures_total{task="sweep"}'), 1)
    assert.equal(found.get('hivesync_task_last_success_seconds{task="sweep"}'), startedAt)
    taskEnded(hive.ctx, 'sweep', 'succeeded')
    assert.equal((await figures(hive)).get('hivesync_task_last_success_seconds{task="sweep"}'), startedAt + 90)
  })

  test('are there when the database is not: what it would have said is left out and named', async () => {
    await using hive = await open()
    const page = createMetricsPage(hive.ctx, createMemoryWindows(hive.clock.now))
    assert.ok(readMetrics(await page.text()).has('hivesync_mail_queued'))
    await hive.ctx.db.close()
    await page.text()
    const found = readMetrics(await page.text())
    assert.ok(!found.has('hivesync_mail_queued'))
    assert.ok(found.has('hivesync_requests_total{operation="getHealth",method="GET",status="5xx"}'))
    assert.equal(found.get('hivesync_limits_state{state="memory"}'), 1)
    // That of the reading before: this one was being counted while it was written.
    assert.ok((found.get('hivesync_metrics_unread_total{group="mail"}') ?? 0) >= 1)
  })
})

describeHive(
  'metrics',
  (open) => {
    test('get no series from anything that somebody sends', async () => {
      await using hive = await open()
      const ada = await hive.person('ada')
      const names = async () => [...(await figures(hive)).keys()].filter((series) => series.startsWith('hivesync_'))
      // Each kind once: a histogram begins with its operation's first request.
      const ask = async (i: number): Promise<void> => {
        const id = `01890000-0000-7000-8000-${String(i).padStart(12, '0')}`
        await hive.inject({ url: `/no/such/${i}`, method: i % 2 === 0 ? 'GET' : 'DELETE', headers: { host: `h${i}` } })
        const headers = { 'user-agent': `agent-${i}`, 'x-request-id': `request-${i}`, origin: `https://o${i}.example` }
        await hive.call(jobs.getJob, { params: { jobId: id }, token: ada.token, headers })
        await hive.call(accounts.getMe, { token: `hs_${i}`, headers })
        await hive.inject({ url: `/api/v1/auth/login`, method: 'POST', payload: `{"login":"user${i}"}`, headers })
      }
      await ask(0)
      await ask(1)
      await names()
      const before = await names()
      for (let i = 2; i < 2502; i++) await ask(i)
      assert.deepEqual(await names(), before)
      const unknown = (await figures(hive)).get(
        'hivesync_requests_total{operation="unknown",method="other",status="4xx"}',
      )
      assert.equal(unknown, 2502)
    })
  },
  { only: 'sqlite' },
)

describeHive(
  'the port of its own',
  (open) => {
    test('serves the metrics to this machine without credentials, and nothing else', async () => {
      await using hive = await open()
      const page = createMetricsPage(hive.ctx, createMemoryWindows(hive.clock.now))
      const listener = await listenForMetrics({ host: '127.0.0.1', port: 0 }, page)
      const { port } = new URL(listener.url)
      const ask = (path: string, { method = 'GET', host = `127.0.0.1:${port}` } = {}) =>
        new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
          const asked = request({ host: '127.0.0.1', port, path, method, headers: { host }, agent: false }, (reply) => {
            let text = ''
            reply.on('data', (chunk) => (text += chunk))
            reply.on('end', () => resolve({ status: reply.statusCode, text }))
          })
          asked.on('error', reject)
          asked.end()
        })
      try {
        const { status, text } = await ask('/metrics')
        assert.equal(status, 200)
        assert.ok(readMetrics(text).has('process_resident_memory_bytes'))
        assert.equal((await ask('/metrics', { host: `localhost:${port}` })).status, 200)
        for (const path of ['/', '/health', '/metrics?x=1', '/api/v1/auth/me', '//metrics'])
          assert.equal((await ask(path)).status, 404, path)
        assert.equal((await ask('/metrics', { method: 'POST' })).status, 405)
        for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1:1', `127.0.0.1.evil.example:${port}`])
          assert.equal((await ask('/metrics', { host })).status, 421, host)
        const others = Object.values(networkInterfaces())
          .flatMap((list) => list ?? [])
          .filter(({ family, internal }) => family === 'IPv4' && !internal)
        for (const { address } of [...others, { address: '127.0.0.2' }]) {
          const socket = connect({ host: address, port: Number(port) })
          const [error] = await once(socket, 'error')
          assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED', address)
        }
      } finally {
        await listener.close()
      }
    })
  },
  { only: 'sqlite' },
)

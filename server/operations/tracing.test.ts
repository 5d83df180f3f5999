import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import { submitJob } from '@hivesync/contracts/jobs.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, progress, take } from '../../test/harness/jobs.ts'
import { createApp } from '../app.ts'
import { traceJobs } from '../jobs/jobs.ts'
import { consumeOutbox } from '../outbox/outbox.ts'
import type { Context } from '../platform/context.ts'
import { startReceiver } from '../platform/net/test-receiver.ts'
import { createTracer } from '../platform/tracing.ts'

interface WireSpan {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: { key: string; value: { stringValue?: string; intValue?: string } }[]
  status: { code?: number }
}
interface Export {
  resourceSpans: { resource: { attributes: { key: string }[] }; scopeSpans: { scope: object; spans: WireSpan[] }[] }[]
}

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const parentId = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${parentId}-01`

function traced(hive: Hive, url: string, ratio = 1) {
  const headers = { 'x-team': 'bees' }
  const tracer = createTracer({ url, headers, ratio }, { ...hive.ctx, dnsServers: ['127.0.0.1:9'] })
  const ctx: Context = { ...hive.ctx, tracer }
  return { ctx, tracer, app: createApp(ctx) }
}

const span = { name: 'x', kind: 'internal', startMs: 0, endMs: 0, attributes: {} } as const

const outcomes = (hive: Hive) =>
  Object.fromEntries(
    hive.ctx.metrics
      .families()
      .filter(({ name }) => name === 'hivesync_trace_spans_total')
      .flatMap(({ samples }) => samples.map(({ labels, value }) => [labels?.outcome, value])),
  )

/** As the specification has it: ids in lower-case hex, times as text, kinds as numbers, attributes with exactly one value. */
function spansOf(bodies: readonly string[]): WireSpan[] {
  const spans = bodies.flatMap((body) =>
    (JSON.parse(body) as Export).resourceSpans.flatMap(({ resource, scopeSpans }) => {
      assert.deepEqual(
        resource.attributes.map(({ key }) => key),
        ['service.name'],
      )
      return scopeSpans.flatMap((scope) => scope.spans)
    }),
  )
  for (const span of spans) {
    assert.match(span.traceId, /^[0-9a-f]{32}$/)
    assert.match(span.spanId, /^[0-9a-f]{16}$/)
    assert.match(`${span.startTimeUnixNano} ${span.endTimeUnixNano}`, /^\d{16,20} \d{16,20}$/)
    assert.ok(BigInt(span.startTimeUnixNano) <= BigInt(span.endTimeUnixNano))
    assert.ok([1, 2].includes(span.kind))
    for (const { value } of span.attributes) assert.equal(Object.keys(value).length, 1)
  }
  return spans
}

describeHive(
  'traces',
  (open) => {
    test('show a request, the job it made, its attempt and its phases, below the trace of the client', async () => {
      await using hive = await open()
      const collector = await startReceiver((_request, response) => void response.writeHead(200).end('{}'))
      try {
        const ada = await hive.person('ada')
        const projectId = await hive.project(ada)
        const worker = await hive.worker()
        const { ctx, tracer, app } = traced(hive, `${collector.origin}/v1/traces`)
        const input = { command: ['echo', 'canary-of-a-command'], env: { HONEY: 'canary-of-a-value' } }
        const reply = await app.inject({
          method: 'POST',
          url: submitJob.path.replace(':projectId', projectId),
          headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json', traceparent },
          payload: JSON.stringify({ kind: 'compute', input }),
        })
        assert.equal(reply.statusCode, 201)
        const claim = await take(worker)
        await progress(worker, claim, { phase: 'run' })
        await complete(worker, claim, {
          outcome: 'failed',
          error: { code: 'command_failed', message: 'canary-of-an-end' },
        })
        for (let left = 1; left > 0; ) left = await consumeOutbox(ctx, [], [traceJobs])
        // What traceJobs reads, it reads after it was told.
        await app.close()
        while ((await collectedSpans()).length < 4) await new Promise((resolve) => setImmediate(resolve))
        await tracer.close()

        async function collectedSpans(): Promise<WireSpan[]> {
          return spansOf(collector.received.map(({ body }) => body))
        }
        const spans = await collectedSpans()
        const named = (name: string): WireSpan => {
          const found = spans.find((span) => span.name === name)
          assert.ok(found, `${name} among ${spans.map((span) => span.name)}`)
          return found
        }
        const [request, job, attempt, phase] = ['submitJob', 'job compute', 'attempt', 'phase run'].map(named)
        assert.deepEqual(
          [request?.parentSpanId, job?.parentSpanId, attempt?.parentSpanId, phase?.parentSpanId],
          [parentId, request?.spanId, job?.spanId, attempt?.spanId],
        )
        assert.ok([request, job, attempt, phase].every((span) => span?.traceId === traceId))
        assert.equal(request?.kind, 2)
        assert.equal(job?.status.code, 2)
        const [first] = collector.received
        assert.deepEqual(
          [first?.path, first?.headers['content-type'], first?.headers['x-team']],
          ['/v1/traces', 'application/json', 'bees'],
        )
        const all = collector.received.map(({ body }) => body).join('')
        assert.doesNotMatch(all, /canary|Bearer|example\.net/)
        assert.ok(!all.includes(`/projects/${projectId}`), 'the route, never the path')
      } finally {
        await collector.close()
      }
    })

    test('cost no request anything when the collector is gone: what it misses is counted', async () => {
      await using hive = await open()
      const collector = await startReceiver()
      await collector.close()
      const ada = await hive.person('ada')
      const { tracer, app } = traced(hive, `${collector.origin}/v1/traces`)
      const headers = { authorization: `Bearer ${ada.token}` }
      for (let i = 0; i < 10; i++)
        assert.equal((await app.inject({ url: accounts.getMe.path, headers })).statusCode, 200)
      // More than may wait.
      for (let i = 0; i < 5000; i++) tracer.end(tracer.begin(), undefined, span)
      await tracer.close()
      await app.close()
      assert.deepEqual(outcomes(hive), { sent: 0, dropped: 5010 })
    })

    test('that a slow collector has not taken wait in a bounded queue: what is more is dropped at once', async () => {
      await using hive = await open()
      const asked: (() => void)[] = []
      const collector = await startReceiver(
        (_request, response) => void asked.push(() => response.writeHead(200).end()),
      )
      try {
        const { tracer, app } = traced(hive, collector.origin)
        for (let i = 0; i < 5000; i++) tracer.end(tracer.begin(), undefined, span)
        // 512 are on their way, and 4,096 wait.
        assert.deepEqual(outcomes(hive), { sent: 0, dropped: 5000 - 512 - 4096 })
        for (let batch = 1; batch <= 9; batch++) {
          await collector.arrived(batch)
          asked.shift()?.()
        }
        while (outcomes(hive).sent < 4608) await new Promise((resolve) => setImmediate(resolve))
        await tracer.close()
        await app.close()
        assert.deepEqual(outcomes(hive), { sent: 4608, dropped: 392 })
      } finally {
        await collector.close()
      }
    })

    test('are kept in the part that is asked for, the same in every process, and not where the client does not want it', async () => {
      await using hive = await open()
      const collector = await startReceiver()
      try {
        const [some, none] = [traced(hive, collector.origin, 0.5), traced(hive, collector.origin, 0)]
        const parents = Array.from(
          { length: 400 },
          () => `00-${Buffer.from(hive.ctx.random.bytes(16)).toString('hex')}-${parentId}-01`,
        )
        const kept = parents.filter((parent) => some.tracer.begin(parent).endsWith('-01'))
        assert.ok(kept.length > 100 && kept.length < 300, String(kept.length))
        const again = traced(hive, collector.origin, 0.5)
        assert.deepEqual(
          parents.filter((parent) => again.tracer.begin(parent).endsWith('-01')),
          kept,
        )
        assert.ok(parents.every((parent) => none.tracer.begin(parent).endsWith('-00')))
        assert.ok(some.tracer.begin(`00-${traceId}-${parentId}-00`).endsWith('-00'))
        none.tracer.end(none.tracer.begin(), undefined, span)
        for (const { app, tracer } of [some, none, again]) {
          await app.close()
          await tracer.close()
        }
        assert.equal(collector.received.length, 0)
      } finally {
        await collector.close()
      }
    })
  },
  { only: 'sqlite' },
)

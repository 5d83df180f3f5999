import type { Clock } from './clock.ts'
import { egressTo } from './config-egress.ts'
import type { CounterSpec, Metrics } from './metrics.ts'
import { createNet } from './net/net.ts'
import type { Random } from './random.ts'

export interface TracingSettings {
  /** The collector's address for traces (OTLP/HTTP), such as http://127.0.0.1:4318/v1/traces. */
  readonly url: string
  /** May hold a credential. */
  readonly headers: Readonly<Record<string, string>>
  /** Which part of the traces is kept. */
  readonly ratio: number
}

/** Something that took time. Attributes hold names of the product, ids and numbers: never a path, a text or an address of somebody's. */
export interface Span {
  readonly name: string
  readonly kind: 'internal' | 'server'
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Readonly<Record<string, string | number>>
  readonly isError?: boolean
}

export interface Tracer {
  /** The place of something that begins in a trace, as a traceparent: below the given one, or of a new trace. Its flag says whether the trace is kept. */
  begin(parent?: string): string
  /** Hands a span over for its place; does nothing where the trace is not kept. Never waits and never throws. */
  end(place: string, parent: string | undefined, span: Span): void
  /** Sends what is left, for two seconds at most. */
  close(): Promise<void>
}

/** What waits for the collector; beyond it spans are dropped and counted: a collector that is gone costs 2 MB, not the server. */
const maxQueued = 4096
const batchSize = 512
const sendEveryMs = 1000
const timeoutMs = 5000
const closeWithinMs = 2000

const spansCounted: CounterSpec<'outcome'> = {
  name: 'hivesync_trace_spans_total',
  help: 'Spans for the collector of traces, by what became of them',
  labels: { outcome: ['sent', 'dropped'] },
}

/** https://opentelemetry.io/docs/specs/otlp/ (1.x), as JSON: ids in hex, enums as numbers, 64-bit numbers as text. */
const kinds = { internal: 1, server: 2 } as const
const statusError = 2

type WireSpan = ReturnType<typeof wireOf>

export function createTracer(
  { url, headers, ratio }: TracingSettings,
  parts: { clock: Clock; random: Random; metrics: Metrics; dnsServers: readonly string[] },
): Tracer {
  const { clock, random, metrics, dnsServers } = parts
  const collector = new URL(url)
  // A way out of its own: that the operator sends traces there opens the place to nobody's webhooks.
  const net = createNet(egressTo(collector, dnsServers), clock.now)
  let queue: WireSpan[] = []
  let sending: Promise<void> | undefined
  metrics.declare(spansCounted)

  async function send(spans: readonly WireSpan[]): Promise<void> {
    const body = JSON.stringify(exportOf(spans))
    let isTaken = false
    try {
      const sent = { 'content-type': 'application/json', ...headers }
      const { status } = await net.post({ url: collector, lane: 'traces', headers: sent, body, timeoutMs })
      isTaken = status >= 200 && status < 300
    } catch {
      // The collector is away. What it missed is counted, and not sent again: traces are not worth a queue that grows.
    }
    metrics.count(spansCounted, { outcome: isTaken ? 'sent' : 'dropped' }, spans.length)
  }

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      const batch = queue.slice(0, batchSize)
      queue = queue.slice(batchSize)
      await send(batch)
    }
    sending = undefined
  }

  const flush = (): void => {
    if (queue.length > 0) sending ??= drain()
  }
  const timer = setInterval(flush, sendEveryMs).unref()

  return {
    begin(parent) {
      const [, traceId = hex(random.bytes(16)), , flags = '01'] = parent?.split('-') ?? []
      const isKept = flags === '01' && isSampled(traceId, ratio)
      return `00-${traceId}-${hex(random.bytes(8))}-${isKept ? '01' : '00'}`
    },
    end(place, parent, span) {
      if (!place.endsWith('-01')) return
      if (queue.length >= maxQueued) return metrics.count(spansCounted, { outcome: 'dropped' })
      queue.push(wireOf(place, parent, span))
      if (queue.length >= batchSize) flush()
    },
    async close() {
      clearInterval(timer)
      flush()
      const late = Promise.withResolvers<void>()
      const patience = setTimeout(late.resolve, closeWithinMs)
      await Promise.race([sending, late.promise])
      clearTimeout(patience)
      await net.close()
    },
  }
}

/** The same answer in every process for one trace (OpenTelemetry's TraceIdRatioBased): the last 7 bytes of its id against the ratio. */
function isSampled(traceId: string, ratio: number): boolean {
  return Number.parseInt(traceId.slice(-13), 16) < ratio * 2 ** 52
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function wireOf(place: string, parent: string | undefined, span: Span) {
  const [, traceId = '', spanId = ''] = place.split('-')
  const parentSpanId = parent?.split('-')[2]
  return {
    traceId,
    spanId,
    ...(parentSpanId !== undefined && { parentSpanId }),
    name: span.name,
    kind: kinds[span.kind],
    startTimeUnixNano: nanosOf(span.startMs),
    endTimeUnixNano: nanosOf(Math.max(span.startMs, span.endMs)),
    attributes: Object.entries(span.attributes).map(([key, value]) => ({
      key,
      value: typeof value === 'number' ? { intValue: String(Math.round(value)) } : { stringValue: value },
    })),
    status: span.isError ? { code: statusError } : {},
  }
}

function nanosOf(ms: number): string {
  return String(BigInt(Math.round(ms * 1000)) * 1000n)
}

function exportOf(spans: readonly WireSpan[]) {
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'hivesync' } }] }
  return { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'hivesync' }, spans }] }] }
}

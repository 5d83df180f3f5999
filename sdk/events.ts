import { setTimeout as delay } from 'node:timers/promises'
import { HiveSyncError } from './error.ts'
import { createEventParser, type EventParser, type ServerSentEvent } from './server-sent-events.ts'

export interface Reconnect {
  /** How many times in a row nothing was heard. */
  failures: number
  delayMs: number
  error: HiveSyncError
}

export interface EventsOptions {
  /** The event after which there is nothing to wait for. */
  isFinal: (event: ServerSentEvent) => boolean
  /** Where to resume; '' starts at the beginning. */
  lastEventId?: string | undefined
  onReconnect?: ((reconnect: Reconnect) => void) | undefined
  /** Connections in a row on which nothing was heard, not even a comment, before giving up; 10 unless given (a minute and a half at the most). */
  maxFailures?: number | undefined
  /** A connection that is silent for so long counts as lost; 90 s unless given. */
  idleMs?: number | undefined
}

export interface StreamSource {
  open(lastEventId: string, signal: AbortSignal): Promise<Response>
  explain(error: unknown, signal: AbortSignal | undefined): unknown
  readProblem(response: Response): Promise<HiveSyncError>
  random: () => number
  signal: AbortSignal | undefined
}

const firstDelayMs = 500
const maxDelayMs = 15_000

/**
 * Yields the events of a stream and reconnects with Last-Event-ID and full jitter (delay uniform in 0…500 ms × 2^failures,
 * at most 15 s) whenever it breaks before the final one. A refusal that a new connection would not change is thrown at once.
 */
export async function* followEvents(
  source: StreamSource,
  options: EventsOptions,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const { isFinal, onReconnect, lastEventId = '', maxFailures = 10, idleMs = 90_000 } = options
  let parser = createEventParser(lastEventId)
  for (let failures = 0; ; ) {
    let error: HiveSyncError
    try {
      for await (const event of readStream(source, parser, idleMs, () => {
        failures = 0
      })) {
        yield event
        if (isFinal(event)) return
      }
      error = new HiveSyncError('unreachable', { title: 'The event stream ended early' })
    } catch (thrown) {
      const explained = source.explain(thrown, source.signal)
      if (!isPassing(explained)) throw explained
      error = explained
    }
    if (++failures > maxFailures) throw error
    const askedMs = error.retryAfterSeconds === null ? (parser.retryMs() ?? 0) : error.retryAfterSeconds * 1000
    const jitterMs = source.random() * Math.min(maxDelayMs, firstDelayMs * 2 ** (failures - 1))
    const delayMs = Math.min(Math.max(askedMs, jitterMs), 60_000)
    onReconnect?.({ failures, delayMs, error })
    await delay(delayMs, undefined, { signal: source.signal })
    // What the broken connection left half read is sent again.
    parser = createEventParser(parser.lastEventId())
  }
}

async function* readStream(
  source: StreamSource,
  parser: EventParser,
  idleMs: number,
  onContact: () => void,
): AsyncGenerator<ServerSentEvent> {
  const idle = new AbortController()
  const signal = source.signal === undefined ? idle.signal : AbortSignal.any([source.signal, idle.signal])
  const watchdog = setTimeout(() => idle.abort(new DOMException('silent', 'TimeoutError')), idleMs)
  try {
    const response = await source.open(parser.lastEventId(), signal)
    const type = response.headers.get('content-type') ?? ''
    if (response.status !== 200 || !type.startsWith('text/event-stream')) throw await source.readProblem(response)
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      watchdog.refresh()
      onContact()
      yield* parser.push(decoder.decode(chunk, { stream: true }))
    }
  } finally {
    clearTimeout(watchdog)
    idle.abort()
  }
}

function isPassing(error: unknown): error is HiveSyncError {
  if (!(error instanceof HiveSyncError)) return false
  if (error.code === 'unreachable' || error.code === 'timed_out') return true
  return error.status === 408 || error.status === 429 || (error.status !== null && error.status >= 500)
}

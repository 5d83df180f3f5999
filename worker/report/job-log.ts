import type { LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import { createLogSplitter, type LogStream } from '@hivesync/protocol/log-chunk.ts'
import { createBackoff } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../enrol/random.ts'
import type { Logger } from '../logger.ts'
import type { Lease } from './leases.ts'
import { sendLogBatch } from './log-delivery.ts'
import { isLeaseLost, isPassing, pauseAfter } from './persistence.ts'
import type { Redactor } from './redactor.ts'
import type { ServerClient } from './server-client.ts'

/** Live enough for a person watching; a job printing line by line costs four requests a second. */
const batchPauseMs = 250
/** From this on nothing is gained by waiting for more. */
const fullBatchBytes = 64 * 1024
/** Unsent output held per job: all that a job may print by default (4 MiB), so that a burst or an absent server loses nothing. */
export const maxHeldBytes = 5 * 1024 * 1024
const mergeBelowBytes = 16 * 1024
/** What a chunk costs beside its text, here and as JSON; without it one-byte writes to both streams in turn would cost memory for nothing. */
const chunkOverheadBytes = 128

export interface JobLog {
  /** Takes output as it comes; never blocks. What does not fit into memory is dropped, and the log says where and how much. */
  write(stream: 'stdout' | 'stderr', bytes: Buffer): void
  /** A line of the worker's own. */
  note(text: string): void
  /** Ends the log and answers what the server has not acknowledged; whoever sends it later sends nothing twice. */
  close(): Promise<LogChunk[]>
}

const printed = ['stdout', 'stderr'] as const
const nothing = new Uint8Array(0)

/**
 * Sends the output of one attempt while it runs, in order of arrival over both streams, numbered without a gap. Secrets are cut out of each stream, and of
 * both in the order they were written, before anything leaves this machine or reaches its disk; of the end of a stream that could still become one, only that waits.
 */
export function openJobLog(options: {
  client: ServerClient
  lease: Lease
  clock: Clock
  random: Random
  log: Logger
  redactor: Redactor
  maxHeldBytes?: number
}): JobLog {
  const { client, lease, clock, log, redactor } = options
  const { token, jobId } = lease.claim
  const capacity = options.maxHeldBytes ?? maxHeldBytes
  const closing = new AbortController()
  const backoff = createBackoff(options.random.fraction)
  /** `dropped`: so many bytes are missing before these. */
  let waiting: { stream: LogStream; at: number; parts: Buffer[]; bytes: number; dropped: number }[] = []
  let chunks: LogChunk[] = []
  let heldBytes = 0
  const dropped = { stdout: 0, stderr: 0 }
  let truncated = false
  let arrived = Promise.withResolvers<void>()
  let at = 0
  const splitter = createLogSplitter({ nowMs: () => at })
  const [stdout = redactor.open(), stderr = redactor.open()] = redactor.openTogether(printed.length)
  const redacted = { stdout, stderr }

  function push(stream: LogStream, bytes: Buffer): void {
    const last = waiting.at(-1)
    if (last?.stream === stream && last.bytes < mergeBelowBytes) {
      last.parts.push(bytes)
      last.bytes += bytes.length
    } else {
      waiting.push({ stream, at: clock.nowMs(), parts: [bytes], bytes: bytes.length, dropped: 0 })
      heldBytes += chunkOverheadBytes
    }
    heldBytes += bytes.length
    arrived.resolve()
  }

  function tellDropped(): void {
    for (const stream of printed) {
      if (dropped[stream] === 0) continue
      waiting.push({ stream, at: clock.nowMs(), parts: [], bytes: 0, dropped: dropped[stream] })
      heldBytes += chunkOverheadBytes
      dropped[stream] = 0
      arrived.resolve()
    }
  }

  /** Cuts what waits into numbered chunks; only here numbers are given, so dropped output leaves none missing. */
  function frame(): void {
    for (const entry of waiting) {
      at = entry.at
      chunks.push(...cut(entry.stream, Buffer.concat(entry.parts), entry.dropped))
    }
    waiting = []
    heldBytes = chunkBytes(chunks)
  }

  function cut(stream: LogStream, bytes: Buffer, missing: number): LogChunk[] {
    if (stream === 'system') return splitter.push(stream, bytes)
    const cuts: LogChunk[] = []
    if (missing > 0) {
      const before = redacted[stream].end(missing)
      cuts.push(...splitter.push(stream, before.bytes, before.endByte))
      cuts.push(...splitter.skip(stream, before.endByte + missing))
    }
    const clean = redacted[stream].push(bytes)
    // What waited in the other stream for how this one goes on was printed before.
    const other = stream === 'stdout' ? 'stderr' : 'stdout'
    const waited = redacted[other].push(nothing)
    if (waited.bytes.length > 0) cuts.push(...splitter.push(other, waited.bytes, waited.endByte))
    return [...cuts, ...splitter.push(stream, clean.bytes, clean.endByte)]
  }

  async function send(): Promise<void> {
    while (!closing.signal.aborted && !truncated) {
      if (chunks.length === 0 && waiting.length === 0) {
        arrived = Promise.withResolvers()
        await arrived.promise
      }
      if (heldBytes < fullBatchBytes) await clock.wait(batchPauseMs, closing.signal)
      if (closing.signal.aborted) return
      frame()
      // All of it may be waiting for what decides whether it is a secret.
      if (chunks.length > 0) await sendSome()
    }
  }

  async function sendSome(): Promise<void> {
    try {
      const sent = await sendLogBatch(client, token, chunks, { signal: closing.signal })
      const sentBytes = chunkBytes(chunks) - chunkBytes(sent.left)
      chunks = sent.left
      heldBytes -= sentBytes // meanwhile more may have come
      backoff.reset()
      if (!sent.truncated) return
      truncated = true
      log.info('log_truncated', { token, jobId })
    } catch (error) {
      if (closing.signal.aborted) return
      if (isLeaseLost(error)) {
        truncated = true
        return lease.stop('lost')
      }
      log.warn('log_not_sent', { token, jobId, reason: String(error) })
      if (!isPassing(error)) truncated = true // refused for good: the same chunks would be refused again
      await clock.wait(pauseAfter(error, backoff.next()), closing.signal)
    }
  }

  const sending = send()
  return {
    write(stream, bytes) {
      if (truncated || closing.signal.aborted) return
      const room = capacity - heldBytes
      // Once something was dropped, wait for real room: else a slow server gets one note for every few bytes.
      if (bytes.length > room || (dropped.stdout + dropped.stderr > 0 && room < capacity / 2)) {
        dropped[stream] += bytes.length
        return
      }
      tellDropped()
      push(stream, bytes)
    },
    note(text) {
      if (truncated || closing.signal.aborted) return
      tellDropped()
      push('system', Buffer.from(`[hivesync] ${redactor.text(text)}\n`))
    },
    async close() {
      tellDropped()
      closing.abort()
      arrived.resolve()
      await sending
      frame()
      at = clock.nowMs()
      for (const stream of printed) {
        const rest = redacted[stream].end()
        chunks.push(...splitter.push(stream, rest.bytes, rest.endByte))
      }
      chunks.push(...splitter.flush())
      return truncated ? [] : chunks
    },
  }
}

function chunkBytes(chunks: readonly LogChunk[]): number {
  return chunks.reduce((sum, chunk) => sum + Buffer.byteLength(chunk.text) + chunkOverheadBytes, 0)
}

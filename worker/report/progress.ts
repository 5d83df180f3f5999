import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import type { reportProgress } from '@hivesync/contracts/worker-protocol.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Lease } from './leases.ts'
import { isLeaseLost } from './persistence.ts'
import type { Redactor } from './redactor.ts'
import type { ServerClient } from './server-client.ts'

export type ProgressReport = BodyOf<typeof reportProgress>

const pauseMs = 500
/** What is not told by then is overtaken by the completion. */
const lastCallMs = 5_000

/** contracts/worker-protocol.ts, reportProgress: what stands for a secret may be longer than it was. */
const maxMessageLength = 300

export interface Progress {
  report(progress: ProgressReport): void
  /** Ends the reporting; resolves when what was still to be told is told, has failed, or five seconds have passed. */
  close(): Promise<void>
}

/**
 * Tells the server how a job goes, at most twice a second: of each phase only its newest report, phases in order, so that
 * a short phase shows too. Secrets are cut out of messages. The last report is always sent; one that fails is replaced by the next.
 */
export function openProgress(options: {
  client: ServerClient
  lease: Lease
  clock: Clock
  log: Logger
  redactor: Redactor
}): Progress {
  const { client, lease, clock, log, redactor } = options
  const { token, jobId } = lease.claim
  const waiting = new Map<string, ProgressReport>()
  const closing = new AbortController()
  let arrived = Promise.withResolvers<void>()

  async function sendFirst(timeoutMs?: number): Promise<boolean> {
    const [first] = waiting
    if (first === undefined) return false
    waiting.delete(first[0])
    try {
      await client.reportProgress(token, first[1], { signal: lease.signal, ...(timeoutMs && { timeoutMs }) })
      return true
    } catch (error) {
      if (lease.signal.aborted) return false
      if (isLeaseLost(error)) lease.stop('lost')
      else log.warn('progress_not_sent', { token, jobId, reason: String(error) })
      return false
    }
  }

  async function send(): Promise<void> {
    while (!closing.signal.aborted) {
      if (waiting.size === 0) {
        arrived = Promise.withResolvers()
        await arrived.promise
      }
      if (closing.signal.aborted) return
      await sendFirst()
      await clock.wait(pauseMs, closing.signal)
    }
  }

  const sending = send()
  return {
    report(progress) {
      if (closing.signal.aborted) return
      const { message, ...rest } = progress
      waiting.set(
        progress.phase,
        message === undefined ? rest : { ...rest, message: redactor.text(message).slice(0, maxMessageLength) },
      )
      arrived.resolve()
    },
    async close() {
      const deadlineMs = clock.monotonicMs() + lastCallMs
      closing.abort()
      arrived.resolve()
      await sending
      for (;;) {
        const leftMs = deadlineMs - clock.monotonicMs()
        if (leftMs <= 0 || !(await sendFirst(leftMs))) return
      }
    },
  }
}

import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'

/** More than this is told to the owner and the server. */
const toleratedMs = 30_000
/** Only the exchange of a prompt answer says how long the way is. */
const promptMs = 2_000
/** The Date header has whole seconds; on average half of one is cut off. */
const cutOffMs = 500

/** What the server's answers say of the time. */
export interface ServerTime {
  /** To be told of each answer: when it was asked for and came, by both clocks of this machine, and its Date header. */
  observe(answer: { sentAtMs: number; receivedAtMs: number; date: string | undefined }): void
  /** The epoch milliseconds to sign with. */
  signingMs(): number
  /** By how much this machine's clock is ahead; undefined before the first answer. */
  readonly skewMs: number | undefined
  /** Monotonic time of the last answer of any kind. */
  readonly lastAnswerMs: number | undefined
}

/**
 * Measures how far this machine's clock is off, from the Date header of each answer less half the way. A clock that is more
 * than 30 s off is logged once, and requests are then signed with the server's time, so that a laptop whose clock is wrong
 * works all the same.
 *
 * That is safe: the header is as authentic as the connection (TLS, or this machine), and whoever could forge it there could
 * just as well answer the requests. What a lying server gains is a signature dated for another time, of a request that it
 * has been sent anyway and, by its nonce, can use once. Leases are timed by the monotonic clock, which this never touches.
 */
export function createServerTime(options: { clock: Clock; log: Logger }): ServerTime {
  const { clock, log } = options
  let wayMs = 0
  let skewMs: number | undefined
  let lastAnswerMs: number | undefined
  let isOff = false
  return {
    observe({ sentAtMs, receivedAtMs, date }) {
      lastAnswerMs = receivedAtMs
      const serverMs = Date.parse(date ?? '')
      if (Number.isNaN(serverMs)) return
      const tookMs = receivedAtMs - sentAtMs
      if (tookMs < promptMs) wayMs = tookMs / 2
      skewMs = Math.round(clock.nowMs() - wayMs - (serverMs + cutOffMs))
      const wasOff = isOff
      isOff = Math.abs(skewMs) > toleratedMs
      if (isOff && !wasOff)
        log.warn('clock_skewed', {
          skewMs,
          reason: 'the clock of this machine differs from the server’s; requests are signed with the server’s time',
          fix: 'let the machine synchronize its clock: timedatectl set-ntp true',
        })
      if (wasOff && !isOff) log.info('clock_right', { skewMs })
    },
    signingMs: () => clock.nowMs() - (isOff ? (skewMs ?? 0) : 0),
    get skewMs() {
      return skewMs
    },
    get lastAnswerMs() {
      return lastAnswerMs
    },
  }
}

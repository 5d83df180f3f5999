import { join } from 'node:path'
import type { Config } from '../config.ts'
import { openFileOutbox } from './file-outbox.ts'
import { type Deliver, type Mailbox, type Message, parseMailbox } from './message.ts'
import { openSmtp } from './smtp.ts'

/** Where mail goes: an SMTP server, or files. What it is handed has left the queue only when it resolves. */
export interface MailTransport {
  readonly from: Mailbox
  readonly isClosed: boolean
  deliver(message: Message): Promise<string | null>
  /** Begins nothing new, gives what is under way a moment, then aborts it; what was aborted is tried again by whoever runs next. */
  close(): Promise<void>
}

/** How long one mail may take, from the name's lookup to the server's last word: no server holds us longer by trickling (the library's own limits are per step). */
export const deliverWithinMs = 60_000
const graceMs = 3_000

/** Chooses the transport by the settings; throws ConfigError, without repeating it, for an address that is not plainly an SMTP server's. */
export function createMailTransport(config: Config): MailTransport {
  const hand: Deliver =
    config.smtpUrl === null ? openFileOutbox(join(config.dataDir, 'mail')) : openSmtp(config.smtpUrl)
  const closing = new AbortController()
  const underWay = new Set<Promise<string | null>>()
  let isClosed = false
  return {
    from: parseMailbox(config.mailFrom),
    get isClosed() {
      return isClosed
    },
    async deliver(message) {
      const done = hand(message, AbortSignal.any([closing.signal, AbortSignal.timeout(deliverWithinMs)]))
      underWay.add(done)
      try {
        return await done
      } finally {
        underWay.delete(done)
      }
    },
    async close() {
      isClosed = true
      const timer = setTimeout(() => closing.abort(), graceMs)
      await Promise.allSettled(underWay)
      clearTimeout(timer)
    },
  }
}

import { loginKey } from '../accounts/accounts.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { takeFromQuota } from '../platform/limits/quota.ts'
import { mailText, sendMail } from '../platform/mail/mail.ts'
import { issueOneTimeToken } from '../platform/one-time-tokens.ts'

const minuteMs = 60_000

/** What links are for: how long they are good, and what the page at /account knows them by. A token of one purpose is worth nothing for another. */
const purposes = {
  'password-reset': { ttlMs: 30 * minuteMs, fragment: 'reset' },
  'email-verification': { ttlMs: 24 * 60 * minuteMs, fragment: 'verify' },
  'email-change': { ttlMs: 30 * minuteMs, fragment: 'email' },
  registration: { ttlMs: 60 * minuteMs, fragment: 'register' },
} as const
export type LinkPurpose = keyof typeof purposes

/**
 * Mails to one mailbox in the name of whoever types its address, per half hour: a mailbox must not be flooded through us. The shortest life of a link is as
 * long, so whoever is held back has a link that works, and nobody can keep the owner from a reset.
 */
const windowMs = 30 * minuteMs
const mostPerSource = 3
const mostPerMailbox = 10

/** Whether one more mail of the purpose may go to the address; the same statements for an address that nobody has. */
export async function mayMail(
  ctx: Context,
  tx: Db,
  about: { purpose: LinkPurpose; address: string; source: string },
): Promise<boolean> {
  const mailbox = `mail\n${about.purpose}\n${loginKey(about.address)}`
  const ofSource = { key: `${mailbox}\n${about.source}`, most: mostPerSource, windowMs }
  // Whoever is over their own share takes nothing of what is left for others.
  if (!(await takeFromQuota(ctx, tx, ofSource))) return false
  return takeFromQuota(ctx, tx, { key: mailbox, most: mostPerMailbox, windowMs })
}

/** A mail with a link, or one that only tells something: then `link` is null. */
export interface Letter {
  readonly purpose: LinkPurpose
  /** Null for nobody: the same rows are written and nothing is sent (ASVS 6.3.8). */
  readonly to: string | null
  readonly subject: string
  readonly link: { readonly userId: string | null; readonly data: Record<string, unknown> } | null
  /** The paragraphs; `url` is the link. */
  text(url: string): readonly string[]
}

/** Makes the link and queues the mail. Without one a token is made all the same, which nobody ever learns. */
export async function mailLink(ctx: Context, tx: Db, letter: Letter): Promise<void> {
  const { purpose, to, link } = letter
  const { ttlMs, fragment } = purposes[purpose]
  const isWorth = to !== null && link !== null
  const token = await issueOneTimeToken(ctx, tx, {
    purpose,
    ttlMs,
    userId: isWorth ? link.userId : null,
    data: isWorth ? link.data : {},
  })
  // In the fragment, which is sent to no server: no log, proxy or Referer holds it (ASVS 14.2.1).
  const url = `${ctx.config.publicUrl}/account#${fragment}=${token}`
  await sendMail(ctx, tx, {
    to,
    subject: letter.subject,
    kind: purpose.replace('-', '_'),
    text: mailText(ctx, letter.text(url)),
    expiresAt: ctx.clock.now() + ttlMs,
  })
}

import type { Context } from '../context.ts'
import { SealBroken } from '../crypto/keyring.ts'
import type { Db } from '../db/db.ts'
import { forUpdateSkipLocked } from '../db/dialect.ts'
import { composeMessage, type Mail, MailRefused } from './message.ts'

export { mailText, quoted } from './mail-text.ts'

const giveUpAfterMs = 24 * 3_600_000
/** Longer than one delivery may take (`deliverWithinMs`), so that only a crash makes a mail due again while somebody holds it. */
const leaseMs = 5 * 60_000
const firstRetryMs = 30_000
const longestRetryMs = 1_800_000
/** Mails under way at once: a server that takes its time keeps the others waiting for at most a share of it. */
const lanes = 4
const maxTextLength = 20_000

interface Row {
  id: string
  sealed: string
  attempts: number
  createdAt: number
}

/**
 * Queues a mail in the act's transaction: it is sent when and only when that commits, soon after, and nobody waits for it. At rest it is sealed.
 * `expiresAt`: when its link is dead; it is not sent after that. Throws for a text over 20,000 characters.
 */
export async function sendMail(ctx: Context, tx: Db, mail: Mail & { expiresAt?: number }): Promise<void> {
  if (mail.text.length > maxTextLength) throw new RangeError('a mail of more than 20,000 characters')
  const id = ctx.random.id()
  const now = ctx.clock.now()
  const sealed = ctx.keyring.seal('seal', JSON.stringify(mail), placeOf(id))
  await tx.insertInto('mailQueue').values({ id, sealed, runAt: now, createdAt: now }).execute()
}

/**
 * Sends what is due, a few at a time, until nothing is; answers how many went out. Processes that do this at once never take the same mail; one
 * that dies between sending and remembering it causes a second copy, of the same Message-ID.
 */
export async function deliverMail(ctx: Context): Promise<number> {
  const runs = await Promise.allSettled(Array.from({ length: lanes }, () => deliverNext(ctx)))
  for (const run of runs) if (run.status === 'rejected') throw run.reason
  return runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0)
}

async function deliverNext(ctx: Context): Promise<number> {
  let sent = 0
  while (!ctx.mail.isClosed) {
    const row = await takeDue(ctx)
    if (row === undefined) break
    if (await deliver(ctx, row)) sent++
  }
  return sent
}

/** Leases the mail that has waited longest. The lease is what is committed before anything is sent: a transaction never waits for a network. */
async function takeDue(ctx: Context): Promise<Row | undefined> {
  const isDue = (db: Db) =>
    db.selectFrom('mailQueue').select(['id', 'sealed', 'attempts', 'createdAt']).where('runAt', '<=', ctx.clock.now())
  // Mostly there is nothing, and that needs no transaction.
  if ((await isDue(ctx.db.kysely).limit(1).executeTakeFirst()) === undefined) return undefined
  return ctx.db.transaction(async (tx) => {
    const row = await forUpdateSkipLocked(tx, isDue(tx).orderBy('runAt').limit(1)).executeTakeFirst()
    if (row === undefined) return undefined
    const attempts = row.attempts + 1
    const runAt = ctx.clock.now() + leaseMs
    await tx.updateTable('mailQueue').set({ attempts, runAt }).where('id', '=', row.id).execute()
    return { ...row, attempts }
  })
}

async function deliver(ctx: Context, row: Row): Promise<boolean> {
  const mail = open(ctx, row)
  if (mail?.to == null || isDead(ctx, mail)) {
    await forget(ctx, row)
    return false
  }
  const { to, kind } = mail
  try {
    const message = composeMessage({ ...mail, to }, ctx.mail.from, row.id, row.createdAt)
    const file = await ctx.mail.deliver(message)
    ctx.log.info({ event: file === null ? 'mail_sent' : 'mail_written', kind, ...(file && { name: `mail/${file}` }) })
  } catch (error) {
    await putOff(ctx, row, kind, error)
    return false
  }
  await forget(ctx, row)
  return true
}

function open(ctx: Context, row: Row): (Mail & { expiresAt?: number }) | undefined {
  try {
    return JSON.parse(ctx.keyring.open('seal', row.sealed, placeOf(row.id)).toString())
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    // Sealed under a secret that is no longer listed, or not by us: nobody can ever send it.
    ctx.log.error({ event: 'mail_dropped', reason: error.reason })
    return undefined
  }
}

function isDead(ctx: Context, { kind, expiresAt }: Mail & { expiresAt?: number }): boolean {
  if (expiresAt === undefined || expiresAt > ctx.clock.now()) return false
  ctx.log.error({ event: 'mail_dropped', kind, reason: 'expired' })
  return true
}

async function putOff(ctx: Context, row: Row, kind: string, error: unknown): Promise<void> {
  // Half of it is jitter: what failed together does not come back together.
  const delayMs = Math.min(longestRetryMs, firstRetryMs * 2 ** (row.attempts - 1)) * (0.5 + ctx.random.fraction() / 2)
  const runAt = Math.ceil(ctx.clock.now() + delayMs)
  if (error instanceof MailRefused) {
    ctx.log.error({ event: 'mail_dropped', kind, reason: error.reason, count: row.attempts })
    return forget(ctx, row)
  }
  if (runAt >= row.createdAt + giveUpAfterMs) {
    ctx.log.error({ event: 'mail_dropped', kind, reason: 'given_up', count: row.attempts }, error)
    return forget(ctx, row)
  }
  ctx.log.error({ event: 'mail_delayed', kind, count: row.attempts }, error)
  // Only while the lease is ours: after it another attempt has its own say.
  await ctx.db.kysely
    .updateTable('mailQueue')
    .set({ runAt })
    .where('id', '=', row.id)
    .where('attempts', '=', row.attempts)
    .execute()
}

async function forget(ctx: Context, row: Row): Promise<void> {
  await ctx.db.kysely.deleteFrom('mailQueue').where('id', '=', row.id).execute()
}

function placeOf(id: string): string {
  return `mail_queue:${id}`
}

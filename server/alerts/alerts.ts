import type { Alert } from '@hivesync/contracts/oversight.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { type Condition, conditions, type Finding } from './conditions.ts'

/** A condition that comes and goes is one alert: it is over when it has not been seen for so long. */
const overAfterMs = 5 * 60_000
const keepMs = 90 * 24 * 3_600_000

/**
 * Looks at every condition, opens an alert where one begins to hold and ends those that no longer do. Admins get one mail for what began (requirement M3). A condition that
 * cannot be looked at leaves its alerts as they are, and the others are looked at. Of several replicas one looks at a time.
 */
export async function watchConditions(ctx: Context, watched: readonly Condition[] = conditions): Promise<void> {
  const found: { kind: string; findings: Finding[] }[] = []
  const failures: unknown[] = []
  for (const { kind, find } of watched) {
    try {
      found.push({ kind, findings: await find(ctx) })
    } catch (error) {
      failures.push(error)
    }
  }
  await ctx.db.transaction(async (tx) => {
    await withLock(tx, 'alerts')
    const raised: Raised[] = []
    for (const { kind, findings } of found) raised.push(...(await update(ctx, tx, kind, findings)))
    if (raised.length === 0) return
    const admins = await listAdmins(tx)
    await mailAdmins(ctx, tx, admins, raised)
    await tellWebhooksOf(ctx, tx, admins, raised)
  })
  if (failures.length > 0) throw new AggregateError(failures, 'conditions could not be looked at')
}

/** A finding that has become an alert. */
interface Raised extends Finding {
  readonly id: string
  readonly kind: string
}

/** Brings the open alerts of one kind to what was found; answers what is new. */
async function update(ctx: Context, tx: Db, kind: string, findings: readonly Finding[]): Promise<Raised[]> {
  const now = ctx.clock.now()
  const open = await tx
    .selectFrom('alerts')
    .select(['id', 'subject', 'lastAt'])
    .where('kind', '=', kind)
    .where('endedAt', 'is', null)
    .execute()
  const raised: Raised[] = []
  for (const { subject, severity, detail } of findings) {
    const known = open.find((alert) => alert.subject === subject)
    if (known !== undefined) {
      await tx.updateTable('alerts').set({ lastAt: now, severity, detail }).where('id', '=', known.id).execute()
      continue
    }
    const row = { id: ctx.random.id(), kind, subject, severity, detail, raisedAt: now, lastAt: now }
    await tx.insertInto('alerts').values(row).execute()
    ctx.log.warn({ event: 'alert_raised', kind, reason: detail })
    raised.push({ id: row.id, kind, subject, severity, detail })
  }
  const over = open.filter(
    ({ subject, lastAt }) => !findings.some((finding) => finding.subject === subject) && now - lastAt >= overAfterMs,
  )
  for (const { id } of over) await tx.updateTable('alerts').set({ endedAt: now }).where('id', '=', id).execute()
  return raised
}

type Admin = Awaited<ReturnType<typeof listAdmins>>[number]

function listAdmins(tx: Db) {
  return tx
    .selectFrom('users')
    .innerJoin('teams', 'teams.personalUserId', 'users.id')
    .select(['users.email', 'teams.id as teamId'])
    .where('users.adminSince', 'is not', null)
    .where('users.deactivatedAt', 'is', null)
    .where('users.erasedAt', 'is', null)
    .orderBy('users.id')
    .execute()
}

/** Webhooks of the admins' own teams hear of it too: whoever is on call for the server has one there. */
async function tellWebhooksOf(
  ctx: Context,
  tx: Db,
  admins: readonly Admin[],
  raised: readonly Raised[],
): Promise<void> {
  for (const { teamId } of admins)
    for (const { id, kind, subject, severity } of raised)
      await enqueueEvent(ctx, tx, { topic: 'alert.raised', teamId, payload: { alertId: id, kind, subject, severity } })
}

async function mailAdmins(ctx: Context, tx: Db, admins: readonly Admin[], raised: readonly Raised[]): Promise<void> {
  const shown = raised
    .slice(0, 20)
    .map(({ severity, detail }) => `${severity === 'critical' ? 'Critical' : 'Warning'}: ${quoted(detail)}`)
  const more = raised.length > shown.length ? [`And ${raised.length - shown.length} more.`] : []
  for (const { email } of admins)
    await sendMail(ctx, tx, {
      to: email,
      subject:
        raised.length === 1
          ? 'HiveSync wants your attention'
          : `HiveSync wants your attention: ${raised.length} things`,
      kind: 'alert',
      text: mailText(ctx, [
        ...shown,
        ...more,
        'See `hivesync admin alerts`, and say there that you look after it: `hivesync admin acknowledge`.',
      ]),
    })
}

export async function listAlerts(
  ctx: Context,
  query: { limit?: string; cursor?: string; state?: 'open' | 'all' },
): Promise<Page<Alert>> {
  const request = pageRequest(query)
  let rows = ctx.db.kysely
    .selectFrom('alerts')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  if (query.state === 'open') rows = rows.where('endedAt', 'is', null)
  if (request.after !== undefined) rows = rows.where('id', '<', request.after)
  return toPage(await rows.execute(), request, (row) => row.id, toAlert)
}

/** Says that somebody looks after an alert; said again it stays the first one's. */
export function acknowledgeAlert(ctx: Context, actor: Actor, alertId: string): Promise<Alert> {
  return ctx.db.transaction(async (tx) => {
    const changed = await tx
      .updateTable('alerts')
      .set({ acknowledgedAt: ctx.clock.now(), acknowledgedBy: actor.userId })
      .where('id', '=', alertId)
      .where('acknowledgedAt', 'is', null)
      .executeTakeFirst()
    const row = await tx.selectFrom('alerts').selectAll().where('id', '=', alertId).executeTakeFirst()
    if (row === undefined) throw new AppError('alert_not_found', { alertId })
    if (changed.numUpdatedRows === 1n)
      await recordAudit(ctx, tx, actor, {
        action: 'alert.acknowledged',
        target: { kind: 'alert', id: alertId },
        details: { kind: row.kind },
      })
    return toAlert(row)
  })
}

/** Forgets alerts that were over ninety days ago. */
export async function pruneAlerts(ctx: Context): Promise<void> {
  await ctx.db.kysely
    .deleteFrom('alerts')
    .where('endedAt', '<', ctx.clock.now() - keepMs)
    .execute()
}

type AlertRow = Awaited<ReturnType<typeof selectAll>>[number]
const selectAll = (db: Db) => db.selectFrom('alerts').selectAll().execute()

function toAlert({ raisedAt, lastAt, endedAt, acknowledgedAt, ...row }: AlertRow): Alert {
  return {
    ...row,
    raisedAt: isoTime(raisedAt),
    lastAt: isoTime(lastAt),
    endedAt: isoTime(endedAt),
    acknowledgedAt: isoTime(acknowledgedAt),
  }
}

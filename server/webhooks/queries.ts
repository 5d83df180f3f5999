import type { Insertable, Selectable, Updateable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, forUpdateSkipLocked, isOneOf } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { insert, oneOf, run, statement } from '../platform/db/statement.ts'
import type { PageRequest } from '../platform/page.ts'

export type WebhookRow = Selectable<Schema['webhooks']>
export type KeyRow = Selectable<Schema['webhookKeys']>
export type DeliveryRow = Selectable<Schema['webhookDeliveries']>

// --- Endpoints

export async function countWebhooks(tx: Db, teamId: string): Promise<number> {
  const { count } = await tx
    .selectFrom('webhooks')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('teamId', '=', teamId)
    .executeTakeFirstOrThrow()
  return count
}

/** How many endpoints each of these teams has; one that has none is left out. */
export async function countWebhooksOf(tx: Db, teamIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await tx
    .selectFrom('webhooks')
    .select((eb) => ['teamId', eb.fn.countAll<number>().as('count')])
    .where(isOneOf(tx, 'teamId', teamIds))
    .groupBy('teamId')
    .execute()
  return new Map(rows.map(({ teamId, count }) => [teamId, count]))
}

export async function insertWebhook(tx: Db, row: Insertable<Schema['webhooks']>): Promise<WebhookRow> {
  return tx.insertInto('webhooks').values(row).returningAll().executeTakeFirstOrThrow()
}

export function findWebhook(db: Db, teamId: string, webhookId: string): Promise<WebhookRow | undefined> {
  return db
    .selectFrom('webhooks')
    .selectAll()
    .where('teamId', '=', teamId)
    .where('id', '=', webhookId)
    .executeTakeFirst()
}

/** Locked, so that nothing is handed out to it, and no attempt of it recorded, until the transaction ends. */
export function lockWebhook(tx: Db, webhookId: string, teamId?: string): Promise<WebhookRow | undefined> {
  const row = tx.selectFrom('webhooks').selectAll().where('id', '=', webhookId)
  return forUpdate(tx, teamId === undefined ? row : row.where('teamId', '=', teamId)).executeTakeFirst()
}

/** The endpoints of these teams, locked in an order that is the same for everybody. */
export function lockWebhooksOf(tx: Db, teamIds: readonly string[]): Promise<WebhookRow[]> {
  const ofTeams = tx
    .selectFrom('webhooks')
    .selectAll()
    .where(isOneOf(tx, 'teamId', teamIds))
    .orderBy('id')
  return forUpdate(tx, ofTeams).execute()
}

export function listWebhookRows(db: Db, teamId: string, request: PageRequest): Promise<WebhookRow[]> {
  const rows = db
    .selectFrom('webhooks')
    .selectAll()
    .where('teamId', '=', teamId)
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  return (request.after === undefined ? rows : rows.where('id', '<', request.after)).execute()
}

export function setWebhook(tx: Db, webhookId: string, change: Updateable<Schema['webhooks']>): Promise<WebhookRow> {
  return tx.updateTable('webhooks').set(change).where('id', '=', webhookId).returningAll().executeTakeFirstOrThrow()
}

export async function deleteWebhookRow(tx: Db, teamId: string, webhookId: string): Promise<boolean> {
  const result = await tx
    .deleteFrom('webhooks')
    .where('teamId', '=', teamId)
    .where('id', '=', webhookId)
    .executeTakeFirst()
  return result.numDeletedRows === 1n
}

/** Where mail about the team goes: its owners who can sign in. */
export async function listOwnerEmails(tx: Db, teamId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('teamMembers')
    .innerJoin('users', 'users.id', 'teamMembers.userId')
    .select('users.email')
    .where('teamMembers.teamId', '=', teamId)
    .where('teamMembers.role', '=', 'owner')
    .where('users.deactivatedAt', 'is', null)
    .orderBy('users.id')
    .execute()
  return rows.map(({ email }) => email)
}

// --- Leases: one process at a time delivers to an endpoint

const dueAt = (db: Db, now: number) =>
  db
    .selectFrom('webhooks')
    .select(['id', 'failures'])
    .where('disabledAt', 'is', null)
    .where('nextRunAt', '<=', now)
    .where((eb) => eb.or([eb('leasedUntil', 'is', null), eb('leasedUntil', '<=', now)]))

export async function hasDueWebhook(db: Db, now: number): Promise<boolean> {
  return (await dueAt(db, now).limit(1).executeTakeFirst()) !== undefined
}

/** Leases endpoints for which something is due, the longest overdue first; with `healthyOnly` none whose last attempt failed. */
export async function leaseDue(
  tx: Db,
  now: number,
  { holder, until, limit, healthyOnly }: { holder: string; until: number; limit: number; healthyOnly: boolean },
): Promise<{ id: string; failures: number }[]> {
  const due = dueAt(tx, now).orderBy('nextRunAt').limit(limit)
  const rows = await forUpdateSkipLocked(tx, healthyOnly ? due.where('failures', '=', 0) : due).execute()
  for (const { id } of rows) await setWebhook(tx, id, { leasedBy: holder, leasedUntil: until })
  return rows
}

/** False when the lease is somebody else's by now. */
export async function renewLease(db: Db, webhookId: string, holder: string, until: number): Promise<boolean> {
  const result = await db
    .updateTable('webhooks')
    .set({ leasedUntil: until })
    .where('id', '=', webhookId)
    .where('leasedBy', '=', holder)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

// --- Keys

export function insertKey(tx: Db, row: Insertable<Schema['webhookKeys']>): Promise<unknown> {
  return tx.insertInto('webhookKeys').values(row).execute()
}

/** The keys of these endpoints that have not expired, the newest first. */
export function listKeys(db: Db, webhookIds: readonly string[], now: number): Promise<KeyRow[]> {
  return db
    .selectFrom('webhookKeys')
    .selectAll()
    .where(isOneOf(db, 'webhookId', webhookIds))
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .orderBy('id', 'desc')
    .execute()
}

/** Ends the keys at that time, those earlier that end earlier already. */
export async function setKeysExpire(tx: Db, webhookId: string, at: number): Promise<void> {
  await tx
    .updateTable('webhookKeys')
    .set({ expiresAt: at })
    .where('webhookId', '=', webhookId)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', at)]))
    .execute()
}

export async function deleteExpiredKeys(db: Db, now: number): Promise<void> {
  await db.deleteFrom('webhookKeys').where('expiresAt', '<=', now).execute()
}

// --- Deliveries

const deliveryColumns = {
  id: 'text',
  webhookId: 'text',
  eventId: 'text',
  type: 'text',
  payload: 'text',
  state: 'text',
  runAt: 'bigint',
  createdAt: 'bigint',
  finishedAt: 'bigint',
} as const
export type NewDelivery = Pick<DeliveryRow, keyof typeof deliveryColumns>

const insertBatch = 1000

/** In batches, since the rows of one travel as one text. */
export async function insertDeliveries(tx: Db, rows: readonly NewDelivery[]): Promise<void> {
  for (let from = 0; from < rows.length; from += insertBatch)
    await run(tx, insert('webhook_deliveries', deliveryColumns, rows.slice(from, from + insertBatch)))
}

/** What is due for an endpoint, in the order in which it happened as far as failures allow. Relies on webhook_deliveries_due. */
export function listDue(db: Db, webhookId: string, now: number, limit: number): Promise<DeliveryRow[]> {
  return db
    .selectFrom('webhookDeliveries')
    .selectAll()
    .where('webhookId', '=', webhookId)
    .where('state', '=', 'pending')
    .where('runAt', '<=', now)
    .orderBy('runAt')
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** When the next delivery of an endpoint is due; null: none waits. */
export async function findNextRun(tx: Db, webhookId: string): Promise<number | null> {
  const row = await tx
    .selectFrom('webhookDeliveries')
    .select('runAt')
    .where('webhookId', '=', webhookId)
    .where('state', '=', 'pending')
    .orderBy('runAt')
    .limit(1)
    .executeTakeFirst()
  return row?.runAt ?? null
}

/** How many deliveries of an endpoint wait, counted no further than `most`. */
export async function countWaiting(tx: Db, webhookId: string, most: number): Promise<number> {
  const some = tx
    .selectFrom('webhookDeliveries')
    .select('id')
    .where('webhookId', '=', webhookId)
    .where('state', '=', 'pending')
    .limit(most)
  return (await some.execute()).length
}

export async function skipPending(tx: Db, webhookId: string, now: number): Promise<void> {
  await tx
    .updateTable('webhookDeliveries')
    .set({ state: 'skipped', finishedAt: now })
    .where('webhookId', '=', webhookId)
    .where('state', '=', 'pending')
    .execute()
}

export function findDelivery(db: Db, webhookId: string, deliveryId: string): Promise<DeliveryRow | undefined> {
  return db
    .selectFrom('webhookDeliveries')
    .selectAll()
    .where('webhookId', '=', webhookId)
    .where('id', '=', deliveryId)
    .executeTakeFirst()
}

export function listDeliveryRows(
  db: Db,
  webhookId: string,
  request: PageRequest,
  state: DeliveryRow['state'] | undefined,
): Promise<DeliveryRow[]> {
  let rows = db
    .selectFrom('webhookDeliveries')
    .selectAll()
    .where('webhookId', '=', webhookId)
    .orderBy('id', 'desc')
    .limit(request.limit + 1)
  if (state !== undefined) rows = rows.where('state', '=', state)
  return (request.after === undefined ? rows : rows.where('id', '<', request.after)).execute()
}

/** Puts deliveries back into the queue, with the whole schedule before them. */
export async function requeue(tx: Db, ids: readonly string[], now: number): Promise<void> {
  await run(
    tx,
    statement`update webhook_deliveries set state = 'pending', tries = 0, run_at = ${now}, finished_at = null
      where id ${oneOf('text', ids)} and state <> 'pending'`,
  )
}

/** Forgets a batch of deliveries that ended before an id was made; answers how many. */
export async function deleteOldDeliveries(db: Db, beforeId: string, limit: number): Promise<number> {
  const old = db
    .selectFrom('webhookDeliveries')
    .select('id')
    .where('id', '<', beforeId)
    .where('state', '<>', 'pending')
    .orderBy('id')
    .limit(limit)
  const result = await db.deleteFrom('webhookDeliveries').where('id', 'in', old).executeTakeFirst()
  return Number(result.numDeletedRows)
}

export function listAttempts(db: Db, deliveryId: string, limit: number) {
  return db
    .selectFrom('webhookAttempts')
    .selectAll()
    .where('deliveryId', '=', deliveryId)
    .orderBy('number', 'desc')
    .limit(limit)
    .execute()
}

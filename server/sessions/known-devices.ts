import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'

const pattern = /^hsd_[A-Za-z0-9_-]{43}$/
/** A device that has not signed in for this long is a stranger again. */
const forgetMs = 180 * 24 * 60 * 60_000
/** Wrong passwords a known device may send before it is a stranger: it may have been stolen (requirement A9). */
const maxFailures = 10
const maxPerPerson = 50

export interface KnownDevice {
  readonly id: string
  readonly userId: string
}

/** The device that a token names, whoever it belongs to; undefined for none, a forgotten or a distrusted one. */
export async function findKnownDevice(ctx: Context, token: string | undefined): Promise<KnownDevice | undefined> {
  if (token === undefined || !pattern.test(token)) return undefined
  return ctx.db.kysely
    .selectFrom('knownDevices')
    .select(['id', 'userId'])
    .where('tokenHash', '=', sha256Hex(token))
    .where('failures', '<', maxFailures)
    .where('lastUsedAt', '>', ctx.clock.now() - forgetMs)
    .executeTakeFirst()
}

/** Counts an attempt of a device as failed before it is checked; answers false when its budget is spent. */
export async function reserveDevice(ctx: Context, deviceId: string): Promise<boolean> {
  const row = await ctx.db.kysely
    .updateTable('knownDevices')
    .set((eb) => ({ failures: eb('failures', '+', 1) }))
    .where('id', '=', deviceId)
    .where('failures', '<', maxFailures)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Notes a login from a known device: its failures are forgiven. False when it was forgotten meanwhile. */
export async function setDeviceUsed(ctx: Context, tx: Db, device: KnownDevice): Promise<boolean> {
  const row = await tx
    .updateTable('knownDevices')
    .set({ failures: 0, lastUsedAt: ctx.clock.now() })
    .where('id', '=', device.id)
    .where('userId', '=', device.userId)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Remembers a new device; answers its token, which is kept nowhere, and whether the person had signed in from another one before. */
export async function rememberDevice(
  ctx: Context,
  tx: Db,
  userId: string,
  name: string | null,
): Promise<{ id: string; token: string; isFirst: boolean }> {
  const token = `hsd_${ctx.random.token(32)}`
  const id = ctx.random.id()
  const now = ctx.clock.now()
  const others = await tx
    .selectFrom('knownDevices')
    .select('id')
    .where('userId', '=', userId)
    .orderBy('lastUsedAt', 'desc')
    .execute()
  const surplus = others.slice(maxPerPerson - 1).map((device) => device.id)
  if (surplus.length > 0) await tx.deleteFrom('knownDevices').where('id', 'in', surplus).execute()
  await tx
    .insertInto('knownDevices')
    .values({ id, userId, tokenHash: sha256Hex(token), name, createdAt: now, lastUsedAt: now })
    .execute()
  return { id, token, isFirst: others.length === 0 }
}

/** Makes every device of the person a stranger again: after a reset, whoever had one may have been the reason for it. */
export async function forgetDevices(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('knownDevices').where('userId', '=', userId).execute()
}

import type { Context } from '../platform/context.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import { createSubjectKey, openPersonal, unwrapSubjectKey, wrapSubjectKey } from '../platform/crypto/subject-key.ts'
import type { Db } from '../platform/db/db.ts'
import { insertSubjects, listSubjectKeys, lockLivingUsers } from './queries.ts'

type SubjectKeys = ReadonlyMap<string, Buffer>

/** The keys of these persons. Somebody without a key has none in the result: what was sealed for them is gone. */
export async function openSubjectKeys(ctx: Context, db: Db, userIds: readonly string[]): Promise<Map<string, Buffer>> {
  const keys = new Map<string, Buffer>()
  if (userIds.length === 0) return keys
  for (const { userId, sealedKey } of await listSubjectKeys(db, userIds)) {
    try {
      keys.set(userId, unwrapSubjectKey(ctx.keyring, userId, sealedKey))
    } catch (error) {
      // The secret was taken out of HIVESYNC_SECRET, or the row was changed: as good as erased, and said so.
      if (!(error instanceof SealBroken)) throw error
      ctx.log.error({ event: 'audit_subject_unreadable', actorId: userId, reason: error.reason })
    }
  }
  return keys
}

/** As `openSubjectKeys`, and makes the missing ones, in the sequencer's transaction. The erased get none, and neither do unreadable ones a second. */
export async function ensureSubjectKeys(ctx: Context, tx: Db, userIds: readonly string[]): Promise<SubjectKeys> {
  const keys = await openSubjectKeys(ctx, tx, userIds)
  const missing = userIds.filter((userId) => !keys.has(userId))
  if (missing.length === 0) return keys
  const taken = new Set((await listSubjectKeys(tx, missing)).map(({ userId }) => userId))
  const made = (await lockLivingUsers(tx, missing))
    .filter((userId) => !taken.has(userId))
    .map((userId) => ({ userId, key: createSubjectKey() }))
  const createdAt = ctx.clock.now()
  const rows = made.map(({ userId, key }) => ({
    userId,
    sealedKey: wrapSubjectKey(ctx.keyring, userId, key),
    createdAt,
  }))
  await insertSubjects(tx, rows)
  for (const { userId, key } of made) keys.set(userId, key)
  return keys
}

/** What was sealed in an event; null for nothing, and for what nobody can open any more. */
export function openSealed(
  keys: SubjectKeys,
  event: { id: string; subject: string | null; sealed: string | null },
): { ip: string | null } | null {
  const key = event.subject === null ? undefined : keys.get(event.subject)
  if (key === undefined || event.sealed === null) return null
  try {
    const value: unknown = JSON.parse(openPersonal(key, event.sealed, event.id))
    const ip = typeof value === 'object' && value !== null && 'ip' in value ? value.ip : null
    return { ip: typeof ip === 'string' ? ip : null }
  } catch (error) {
    // Changed in the database, which the verification reports; who reads the log learns nothing from it.
    if (!(error instanceof SealBroken)) throw error
    return null
  }
}

/**
 * Makes what the audit log holds of a person unreadable for everybody (crypto-erasure, requirement K5), as the last act of the erasing transaction: their
 * key goes, and so does what still waits to be sealed. Leaves and proofs stay as they are.
 */
export async function eraseAuditSubject(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('auditSubjects').where('userId', '=', userId).execute()
  await tx.updateTable('auditPending').set({ ip: null }).where('subject', '=', userId).execute()
}

const rewrapPage = 200

/** Seals the persons' keys that are sealed under an older secret anew under the newest, so that the older can be taken out of `HIVESYNC_SECRET`. */
export async function rewrapSubjectKeys(ctx: Context): Promise<void> {
  const current = `v1.${ctx.keyring.currentKeyId}.`
  for (let after = ''; ; ) {
    const page = await ctx.db.kysely
      .selectFrom('auditSubjects')
      .select(['userId', 'sealedKey'])
      .where('userId', '>', after)
      .where((eb) => eb(eb.fn<string>('substr', ['sealedKey', eb.lit(1), eb.lit(current.length)]), '<>', current))
      .orderBy('userId')
      .limit(rewrapPage)
      .execute()
    for (const { userId, sealedKey } of page) await rewrap(ctx, userId, sealedKey)
    const last = page.at(-1)
    if (last === undefined || page.length < rewrapPage) return
    after = last.userId
  }
}

async function rewrap(ctx: Context, userId: string, sealedKey: string): Promise<void> {
  let key: Buffer
  try {
    key = unwrapSubjectKey(ctx.keyring, userId, sealedKey)
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    ctx.log.error({ event: 'audit_subject_unreadable', actorId: userId, reason: error.reason })
    return
  }
  await ctx.db.kysely
    .updateTable('auditSubjects')
    .set({ sealedKey: wrapSubjectKey(ctx.keyring, userId, key) })
    .where('userId', '=', userId)
    .where('sealedKey', '=', sealedKey)
    .execute()
}

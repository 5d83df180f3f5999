import { recordAudit } from '../audit/audit.ts'
import { type Actor, system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import {
  generateSigningKey,
  maxTokenSeconds,
  openSigningKey,
  type SigningKeyRow as SealedKey,
  type TokenSigningKey,
} from '../platform/crypto/token-signer.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import {
  deleteSigningKeys,
  insertSigningKey,
  listSigningKeyRows,
  type SigningKeyRow,
  setSigningKeyCurrent,
  setSigningKeyPrevious,
} from './queries.ts'

export const accessTokenPurpose = 'access-token'
const dayMs = 24 * 60 * 60 * 1000
/** A key signs for this long. */
export const signingPeriodMs = 30 * dayMs
/** A key is published for this long before it signs: longer than whoever reads the key set keeps it (`Cache-Control`, 10 min). */
export const publishedBeforeMs = 60 * 60 * 1000
/**
 * How long a key verifies after it has stopped signing: the longest life of a token, the minute for which another replica may go on signing
 * with the keys it has read, and the tolerance for clocks that differ.
 */
export const overlapMs = (maxTokenSeconds + 60 + 30) * 1000

/** What the lifecycle turns on, without the clock's direction: after a step back of years nothing waits for years (reference T4). */
const since = (now: number, at: number): number => Math.abs(now - at)
export const activatedAt = (row: SigningKeyRow): number => row.activatedAt ?? row.createdAt
export const isTrusted = (row: SigningKeyRow, now: number): boolean => row.retiresAt === null || row.retiresAt > now

/**
 * Keeps the signing keys as they should be: one that signs, for thirty days; one published to come next; those before until the last
 * token they signed is dead. Replicas that do it at once do it once. Also the first keys ever are made here.
 *
 * A key that the keyring cannot open, because its secret was taken out of `HIVESYNC_SECRET` or the row was changed, is withdrawn with
 * the tokens it signed and replaced: who removed the secret no longer trusts what it sealed, and nobody is locked out by it. Sessions
 * go on, because refresh tokens are no JWTs.
 */
export async function tendSigningKeys(ctx: Context): Promise<void> {
  const rows = await listSigningKeyRows(ctx.db.kysely, accessTokenPurpose)
  const unreadable = new Set(
    rows.filter((row) => row.state !== 'previous' && openRow(ctx, row) === undefined).map((row) => row.id),
  )
  if (unreadable.size === 0 && !isAnythingDue(rows, ctx.clock.now())) return
  // Made before the lock is taken: inside a transaction nothing is computed.
  const spares = [await generateSigningKey(ctx.keyring), await generateSigningKey(ctx.keyring)]
  await ctx.db.transaction(async (tx) => {
    await lockSigningKeys(tx)
    await withdraw(ctx, tx, system, unreadable, 'signing_key.unreadable')
    await arrange(ctx, tx, system, [...spares], false)
  })
}

/** Held by whoever changes signing keys, so that no two are minted for one place. */
export function lockSigningKeys(tx: Db): Promise<void> {
  return withLock(tx, `signing-keys:${accessTokenPurpose}`)
}

/** Deletes keys, and with them every token they signed: a row that is gone cannot come back with the clock. */
export async function withdraw(
  ctx: Context,
  tx: Db,
  actor: Actor,
  ids: ReadonlySet<string>,
  action: string,
): Promise<void> {
  const rows = await listSigningKeyRows(tx, accessTokenPurpose)
  const gone = rows.filter((row) => ids.has(row.id)).map((row) => row.id)
  await deleteSigningKeys(tx, gone)
  for (const id of gone) await recordAudit(ctx, tx, actor, { action, target: { kind: 'signing_key', id } })
}

/** Brings the rows into order, under the lock: drops the retired, changes over when it is time or `isWanted`, fills empty places from the spares. */
export async function arrange(
  ctx: Context,
  tx: Db,
  actor: Actor,
  spares: SealedKey[],
  isWanted: boolean,
): Promise<void> {
  const now = ctx.clock.now()
  const rows = await listSigningKeyRows(tx, accessTokenPurpose)
  await dropRetired(tx, rows, now)
  let next = rows.find((row) => row.state === 'next')
  const current = rows.find((row) => row.state === 'current')
  const isTime = current === undefined || isWanted || since(now, activatedAt(current)) >= signingPeriodMs
  // Nothing to sign with outweighs that nobody has heard of the key yet.
  if (next !== undefined && isTime && (current === undefined || isPublished(next, now))) {
    if (current !== undefined) await setSigningKeyPrevious(tx, current.id, now + overlapMs)
    await setSigningKeyCurrent(tx, next.id, now)
    await audit(ctx, tx, actor, 'signing_key.promoted', next.id)
    next = undefined
  } else if (current === undefined) await insert(ctx, tx, actor, spares.pop(), 'current')
  if (next === undefined) await insert(ctx, tx, actor, spares.pop(), 'next')
}

export function isPublished(next: SigningKeyRow, now: number): boolean {
  return since(now, next.createdAt) >= publishedBeforeMs
}

function isAnythingDue(rows: readonly SigningKeyRow[], now: number): boolean {
  const current = rows.find((row) => row.state === 'current')
  const next = rows.find((row) => row.state === 'next')
  if (current === undefined || next === undefined) return true
  if (since(now, activatedAt(current)) >= signingPeriodMs && isPublished(next, now)) return true
  return rows.some((row) => isOver(row, now) || isTooLong(row, now))
}

const isOver = ({ retiresAt }: SigningKeyRow, now: number): boolean => retiresAt !== null && retiresAt + dayMs <= now
/** Retired by a clock that was ahead of ours. */
const isTooLong = ({ retiresAt }: SigningKeyRow, now: number): boolean =>
  retiresAt !== null && retiresAt > now + overlapMs

async function dropRetired(tx: Db, rows: readonly SigningKeyRow[], now: number): Promise<void> {
  await deleteSigningKeys(
    tx,
    rows.filter((row) => isOver(row, now)).map((row) => row.id),
  )
  for (const row of rows) if (isTooLong(row, now)) await setSigningKeyPrevious(tx, row.id, now + overlapMs)
}

/** The private half of a key that signs or will; undefined, and an error in the log, where it cannot be opened. */
export function openRow(ctx: Context, row: SigningKeyRow): TokenSigningKey | undefined {
  try {
    const { id: keyId, publicKey, sealedPrivateKey } = row
    return openSigningKey(ctx.keyring, { keyId, publicKey, sealedPrivateKey })
  } catch (error) {
    ctx.log.error({ event: 'signing_key_unreadable', name: row.id, state: row.state }, error)
    return undefined
  }
}

async function insert(
  ctx: Context,
  tx: Db,
  actor: Actor,
  key: SealedKey | undefined,
  state: 'current' | 'next',
): Promise<void> {
  if (key === undefined) throw new Error('there is no spare signing key for an empty place')
  const now = ctx.clock.now()
  await insertSigningKey(tx, {
    id: key.keyId,
    purpose: accessTokenPurpose,
    state,
    publicKey: key.publicKey,
    sealedPrivateKey: key.sealedPrivateKey,
    createdAt: now,
    activatedAt: state === 'current' ? now : null,
    retiresAt: null,
  })
  await audit(ctx, tx, actor, 'signing_key.created', key.keyId)
}

function audit(ctx: Context, tx: Db, actor: Actor, action: string, id: string): Promise<void> {
  const details = { purpose: accessTokenPurpose }
  return recordAudit(ctx, tx, actor, { action, target: { kind: 'signing_key', id }, details })
}

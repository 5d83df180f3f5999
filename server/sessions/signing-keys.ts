import type { Context } from '../platform/context.ts'
import { openTokenKeySet, type TokenKeySet, type TokenSigningKey } from '../platform/crypto/token-signer.ts'
import { listSigningKeyRows, type SigningKeyRow } from './queries.ts'
import { accessTokenPurpose, isTrusted, openRow, tendSigningKeys } from './tend-keys.ts'

/** A replica signs and verifies with keys it read at most this long ago, so a dropped key is refused soon after (reference T3). */
const maxAgeMs = 60_000
/** A token with an unknown key id may cause one read per second, however many of them a stranger sends. */
const unknownKeyPauseMs = 1000

export interface AccessTokenKeys {
  readonly current: TokenSigningKey
  /** Every published key, by id. */
  readonly keys: TokenKeySet
}

interface Held {
  read: { at: number; keys: Promise<AccessTokenKeys> } | undefined
  /** The ids of the keys read last. */
  trusted: ReadonlySet<string>
  /** Grows whenever a key is no longer trusted: what was verified before must be verified anew. */
  withdrawals: number
  isReadDue: boolean
}

const heldBy = new WeakMap<Context, Held>()

/** The keys of access tokens; the first call ever makes them. After an unknown key id they may be asked for anew. */
export function getAccessTokenKeys(ctx: Context, after?: 'unknown_key'): Promise<AccessTokenKeys> {
  const held = heldFor(ctx)
  // The distance, not the difference: after a step back of the clock the keys are read again.
  const age = held.read === undefined ? Number.POSITIVE_INFINITY : Math.abs(ctx.clock.now() - held.read.at)
  if (held.read !== undefined && age < (after === 'unknown_key' ? unknownKeyPauseMs : maxAgeMs)) return held.read.keys
  return readAnew(ctx, held)
}

/** Grows whenever a signing key is withdrawn; a token verified at another count must be verified again. */
export function countWithdrawals(ctx: Context): number {
  return heldFor(ctx).withdrawals
}

/** Reads the keys anew and trusts those alone from now on, in this process; also when they cannot be read. */
export async function rereadSigningKeys(ctx: Context): Promise<void> {
  const held = heldFor(ctx)
  await readAnew(ctx, held).catch((error: unknown) => {
    held.withdrawals++
    throw error
  })
}

/** The public keys as RFC 7517 wants them: the next one is published before it signs, the previous until its last token has expired. */
export async function getKeySet(ctx: Context) {
  // Makes them where nobody has needed one yet.
  await getAccessTokenKeys(ctx)
  const rows = await readTrusted(ctx)
  return {
    keys: rows.map((row) => ({ kty: 'OKP', crv: 'Ed25519', x: row.publicKey, kid: row.id, alg: 'EdDSA', use: 'sig' })),
  }
}

function heldFor(ctx: Context): Held {
  const known = heldBy.get(ctx)
  if (known !== undefined) return known
  const held: Held = { read: undefined, trusted: new Set(), withdrawals: 0, isReadDue: false }
  heldBy.set(ctx, held)
  // Where this process alone writes, whoever withdraws a key says so directly; on PostgreSQL another replica may have done it.
  if (ctx.db.dialect === 'postgres') ctx.bus.subscribe('identity', () => rereadSoon(ctx, held))
  return held
}

/** One read at a time, however much news there is; what comes during a read is answered by one more. */
function rereadSoon(ctx: Context, held: Held): void {
  if (held.isReadDue || held.trusted.size === 0) return
  held.isReadDue = true
  setImmediate(() => {
    held.isReadDue = false
    rereadSigningKeys(ctx).catch((error: unknown) => ctx.log.error({ event: 'signing_keys_unread' }, error))
  })
}

function readAnew(ctx: Context, held: Held): Promise<AccessTokenKeys> {
  const read = { at: ctx.clock.now(), keys: openKeys(ctx) }
  held.read = read
  read.keys.then(
    ({ keys }) => {
      const ids = new Set(keys.keys())
      const isWithdrawn = [...held.trusted].some((id) => !ids.has(id))
      held.trusted = ids
      if (!isWithdrawn) return
      held.withdrawals++
      // Open streams prove their token again at this news.
      ctx.bus.publish('identity')
    },
    () => {
      // Not kept: the next caller tries again. This caller has the failure itself.
      if (held.read === read) held.read = undefined
    },
  )
  return read.keys
}

async function openKeys(ctx: Context): Promise<AccessTokenKeys> {
  const opened = await tryToOpen(ctx)
  if (opened !== undefined) return opened
  // There is none yet, or none that can sign: the second time it stands.
  await tendSigningKeys(ctx)
  const made = await tryToOpen(ctx)
  if (made === undefined) throw new Error('there is no signing key that can be opened')
  return made
}

async function tryToOpen(ctx: Context): Promise<AccessTokenKeys | undefined> {
  const rows = await readTrusted(ctx)
  const row = rows.find(({ state }) => state === 'current')
  const current = row === undefined ? undefined : openRow(ctx, row)
  if (current === undefined) return undefined
  return { current, keys: openTokenKeySet(rows.map(({ id, publicKey }) => ({ keyId: id, publicKey }))) }
}

async function readTrusted(ctx: Context): Promise<SigningKeyRow[]> {
  const rows = await listSigningKeyRows(ctx.db.kysely, accessTokenPurpose)
  return rows.filter((row) => isTrusted(row, ctx.clock.now()))
}

import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import {
  generateSigningKey,
  openSigningKey,
  openTokenKeySet,
  type TokenKeySet,
  type TokenSigningKey,
} from '../platform/crypto/token-signer.ts'
import { withLock } from '../platform/db/dialect.ts'
import { insertSigningKey, listSigningKeys, type SigningKeyRow } from './queries.ts'

const purpose = 'access-token'
/** A replica signs and verifies with keys it read at most this long ago, so a dropped key is refused soon after (reference T3). */
const maxAgeMs = 60_000
/** A token with an unknown key id may cause one read per second, however many of them a stranger sends. */
const unknownKeyPauseMs = 1000

export interface AccessTokenKeys {
  readonly current: TokenSigningKey
  /** Every published key, by id. */
  readonly keys: TokenKeySet
}

const opened = new WeakMap<Context, { readAt: number; keys: Promise<AccessTokenKeys> }>()

/** The keys of access tokens; the first call ever makes one. After an unknown key id they may be asked for anew. */
export function getAccessTokenKeys(ctx: Context, after?: 'unknown_key'): Promise<AccessTokenKeys> {
  const now = ctx.clock.now()
  const known = opened.get(ctx)
  // The distance, not the difference: after a step back of the clock the keys are read again.
  const age = known === undefined ? Number.POSITIVE_INFINITY : Math.abs(now - known.readAt)
  if (known !== undefined && age < (after === 'unknown_key' ? unknownKeyPauseMs : maxAgeMs)) return known.keys
  const entry = { readAt: now, keys: openKeys(ctx) }
  opened.set(ctx, entry)
  entry.keys.catch(() => {
    // Not kept: the next caller tries again. This caller has the failure itself.
    if (opened.get(ctx) === entry) opened.delete(ctx)
  })
  return entry.keys
}

/** The public keys as RFC 7517 wants them: the next one is published before it signs, the previous until its last token has expired. */
export async function getKeySet(ctx: Context) {
  const rows = await readKeys(ctx)
  return {
    keys: rows.map((row) => ({ kty: 'OKP', crv: 'Ed25519', x: row.publicKey, kid: row.id, alg: 'EdDSA', use: 'sig' })),
  }
}

async function openKeys(ctx: Context): Promise<AccessTokenKeys> {
  const rows = await readKeys(ctx)
  const current = rows.find((row) => row.state === 'current')
  if (current === undefined) throw new Error('there is no current signing key')
  return {
    current: openSigningKey(ctx.keyring, {
      keyId: current.id,
      publicKey: current.publicKey,
      sealedPrivateKey: current.sealedPrivateKey,
    }),
    keys: openTokenKeySet(rows.map((row) => ({ keyId: row.id, publicKey: row.publicKey }))),
  }
}

async function readKeys(ctx: Context): Promise<SigningKeyRow[]> {
  const read = () => listSigningKeys(ctx.db.kysely, purpose, ctx.clock.now())
  const rows = await read()
  if (rows.some((row) => row.state === 'current')) return rows
  await mintKey(ctx)
  return read()
}

/** Makes the first signing key; replicas that start together make one between them. */
async function mintKey(ctx: Context): Promise<void> {
  const minted = await generateSigningKey(ctx.keyring)
  await ctx.db.transaction(async (tx) => {
    await withLock(tx, `signing-keys:${purpose}`)
    const rows = await listSigningKeys(tx, purpose, ctx.clock.now())
    if (rows.some((row) => row.state === 'current')) return
    await insertSigningKey(tx, {
      id: minted.keyId,
      purpose,
      state: 'current',
      publicKey: minted.publicKey,
      sealedPrivateKey: minted.sealedPrivateKey,
      createdAt: ctx.clock.now(),
      retiresAt: null,
    })
    const target = { kind: 'signing_key', id: minted.keyId }
    await recordAudit(ctx, tx, system, { action: 'signing_key.created', target, details: { purpose } })
  })
}

import type { SigningKey, SigningKeys } from '@hivesync/contracts/sessions.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { generateSigningKey } from '../platform/crypto/token-signer.ts'
import { revoking } from '../platform/revocation.ts'
import { listSigningKeyRows, type SigningKeyRow } from './queries.ts'
import { rereadSigningKeys } from './signing-keys.ts'
import {
  accessTokenPurpose,
  activatedAt,
  arrange,
  isTrusted,
  lockSigningKeys,
  publishedBeforeMs,
  tendSigningKeys,
  withdraw,
} from './tend-keys.ts'

/** The keys of access tokens, without their private halves. */
export async function listSigningKeys(ctx: Context): Promise<SigningKeys> {
  await tendSigningKeys(ctx)
  const rows = await listSigningKeyRows(ctx.db.kysely, accessTokenPurpose)
  const keys = rows.filter((row) => isTrusted(row, ctx.clock.now())).map(toSigningKey)
  const current = keys.find((key) => key.state === 'current')
  const next = keys.find((key) => key.state === 'next')
  if (current === undefined || next === undefined)
    throw new Error('the signing keys were withdrawn while they were read')
  return { current, next, previous: keys.filter((key) => key.state === 'previous') }
}

/**
 * Changes over to the next signing key before its time. Without `emergency` nobody notices, and nothing changes while the next key has
 * been published for less than an hour: `next.signsFrom` says when it may. With it every key is withdrawn and new ones are made: all
 * access tokens end at their next request here and within a second at other replicas, and sessions go on by their refresh tokens.
 */
export async function rotateSigningKeys(
  ctx: Context,
  actor: Actor,
  body: { emergency?: boolean },
): Promise<SigningKeys & { rotated: boolean }> {
  const spares = [await generateSigningKey(ctx.keyring), await generateSigningKey(ctx.keyring)]
  const idOfCurrent = async () => (await listSigningKeys(ctx)).current.id
  const before = await idOfCurrent()
  if (body.emergency === true) {
    await revoking(ctx, actor, async (tx, revoke) => {
      await lockSigningKeys(tx)
      const rows = await listSigningKeyRows(tx, accessTokenPurpose)
      await withdraw(ctx, tx, actor, new Set(rows.map((row) => row.id)), 'signing_key.revoked')
      await arrange(ctx, tx, actor, [...spares], false)
      await revoke({})
    })
  } else {
    await ctx.db.transaction(async (tx) => {
      await lockSigningKeys(tx)
      await arrange(ctx, tx, actor, [...spares], true)
    })
  }
  await rereadSigningKeys(ctx)
  const keys = await listSigningKeys(ctx)
  return { rotated: keys.current.id !== before, ...keys }
}

function toSigningKey(row: SigningKeyRow): SigningKey {
  const signsFrom = row.state === 'next' ? row.createdAt + publishedBeforeMs : activatedAt(row)
  return {
    id: row.id,
    state: row.state,
    createdAt: isoTime(row.createdAt),
    signsFrom: isoTime(signsFrom),
    retiresAt: row.retiresAt === null ? null : isoTime(row.retiresAt),
  }
}

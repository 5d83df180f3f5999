import type { Context } from '../platform/context.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import {
  createWebhookSigner,
  encodeWebhookSecret,
  generateWebhookKey,
  type WebhookSigner,
} from '../platform/crypto/webhook-signer.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdateSkipLocked } from '../platform/db/dialect.ts'
import { insertKey, type KeyRow } from './queries.ts'

const placeOf = (id: string, column: 'secret' | 'private_key'): string => `webhook_keys:${id}:${column}`

/** Makes the keys of an endpoint, sealed before they are stored; the secret is in this answer and nowhere else in the clear. */
export async function issueKey(ctx: Context, tx: Db, webhookId: string): Promise<{ key: KeyRow; secret: string }> {
  const id = ctx.random.id()
  const made = generateWebhookKey()
  const key = {
    id,
    webhookId,
    sealedSecret: ctx.keyring.seal('webhook', made.secret, placeOf(id, 'secret')),
    sealedPrivateKey: ctx.keyring.seal('webhook', made.privateKey, placeOf(id, 'private_key')),
    publicKey: made.publicKey,
    createdAt: ctx.clock.now(),
    expiresAt: null,
  }
  await insertKey(tx, key)
  return { key, secret: encodeWebhookSecret(made.secret) }
}

/** Throws `SealBroken` when one of the keys was sealed under a secret that is no longer listed. */
export function openSigner(ctx: Context, keys: readonly KeyRow[]): WebhookSigner {
  return createWebhookSigner(
    keys.map(({ id, sealedSecret, sealedPrivateKey }) => ({
      secret: ctx.keyring.open('webhook', sealedSecret, placeOf(id, 'secret')),
      privateKey: ctx.keyring.open('webhook', sealedPrivateKey, placeOf(id, 'private_key')),
    })),
  )
}

const batch = 100

/** Seals anew, under the first secret of the list, what lies under another: once it is done, the others may be removed. Answers how many keys it was. */
export async function rewrapWebhookKeys(ctx: Context): Promise<number> {
  let rewrapped = 0
  for (let after = ''; ; ) {
    const last = await ctx.db.transaction(async (tx) => {
      const rows = await lockForeign(ctx, tx, after)
      for (const row of rows) if (await rewrap(ctx, tx, row)) rewrapped++
      return rows.length < batch ? undefined : rows.at(-1)?.id
    })
    if (last === undefined) return rewrapped
    after = last
  }
}

function lockForeign(ctx: Context, tx: Db, after: string): Promise<KeyRow[]> {
  const current = `v1.${ctx.keyring.currentKeyId}.`
  const rows = tx
    .selectFrom('webhookKeys')
    .selectAll()
    .where('id', '>', after)
    .where((eb) => eb.fn('substr', ['sealedPrivateKey', eb.val(1), eb.val(current.length)]), '<>', current)
    .orderBy('id')
    .limit(batch)
  return forUpdateSkipLocked(tx, rows).execute()
}

async function rewrap(ctx: Context, tx: Db, row: KeyRow): Promise<boolean> {
  const again = (sealed: string, column: 'secret' | 'private_key'): string => {
    const place = placeOf(row.id, column)
    return ctx.keyring.seal('webhook', ctx.keyring.open('webhook', sealed, place), place)
  }
  try {
    const sealedSecret = again(row.sealedSecret, 'secret')
    const sealedPrivateKey = again(row.sealedPrivateKey, 'private_key')
    await tx.updateTable('webhookKeys').set({ sealedSecret, sealedPrivateKey }).where('id', '=', row.id).execute()
    return true
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    ctx.log.error({ event: 'webhook_key_unreadable', name: row.webhookId, reason: error.reason })
    return false
  }
}

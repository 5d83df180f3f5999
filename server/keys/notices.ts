import type { ApiKey } from '@hivesync/contracts/api-keys.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { findEmail, takeExpiringKeys } from './queries.ts'

const dayMs = 24 * 60 * 60 * 1000
const remindBeforeMs = 7 * dayMs
const maxPerBatch = 200
/** More names than this make no mail more useful. */
const maxListed = 20

/** Tells the owner of a new key, or of one that took another's place (ASVS 6.3.7): whoever made it, the owner hears of it. */
export async function noticeNewKey(ctx: Context, tx: Db, actor: Actor, key: ApiKey, replaced?: string): Promise<void> {
  if (actor.userId === null) return
  const from = actor.ip === null ? '' : ` from network ${actor.ip}`
  const what = replaced === undefined ? 'was made' : `took the place of ${replaced}...`
  await sendMail(ctx, tx, {
    to: await findEmail(tx, actor.userId),
    subject: replaced === undefined ? 'New API key in your account' : 'API key replaced in your account',
    kind: replaced === undefined ? 'api_key_created' : 'api_key_rotated',
    text: mailText(ctx, [
      `The API key ${quoted(key.name)} (${key.prefix}...) ${what}${from} at ${key.createdAt}. Scopes: ${key.scopes.join(', ')}.`,
      'If that was you, there is nothing to do.',
      'If not: revoke the key, end your sessions and change your password.',
    ]),
  })
}

/**
 * Tells owners of keys that expire within a week (ASVS 6.4.5), once per key and all keys of a person in one mail; answers how many keys.
 * Keys that never had more than a week, and those already replaced, expire without a word. Replicas that do this at once share the work.
 */
export async function remindKeyExpiry(ctx: Context): Promise<number> {
  let reminded = 0
  for (let batch = maxPerBatch; batch === maxPerBatch; reminded += batch) batch = await remindBatch(ctx)
  return reminded
}

function remindBatch(ctx: Context): Promise<number> {
  return ctx.db.transaction(async (tx) => {
    const keys = await takeExpiringKeys(tx, { now: ctx.clock.now(), withinMs: remindBeforeMs, limit: maxPerBatch })
    for (const [userId, theirs] of Map.groupBy(keys, (key) => key.userId)) {
      const lines = theirs
        .slice(0, maxListed)
        .map((key) => `${quoted(key.name)} (${key.prefix}...) expires at ${new Date(key.expiresAt).toISOString()}.`)
      const more = theirs.length > maxListed ? [`So do ${theirs.length - maxListed} more.`] : []
      await sendMail(ctx, tx, {
        to: await findEmail(tx, userId),
        subject: theirs.length === 1 ? 'An API key of yours expires soon' : 'API keys of yours expire soon',
        kind: 'api_key_expiry',
        text: mailText(ctx, [
          ...lines,
          ...more,
          'Whatever uses a key stops working then. Rotate it with `hivesync key rotate`, which keeps the old one alive while you exchange them, or let it expire if nothing needs it.',
        ]),
      })
    }
    return keys.length
  })
}

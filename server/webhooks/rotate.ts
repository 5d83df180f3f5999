import type { NewWebhook, Webhook } from '@hivesync/contracts/webhooks.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { requireTeam } from '../teams/teams.ts'
import { issueKey } from './keys.ts'
import { policy } from './policy.ts'
import { listKeys, lockWebhook, setKeysExpire } from './queries.ts'
import type { WebhookPlace } from './webhooks.ts'
import { requireFound, toKey, toWebhook } from './wire.ts'

/** Makes new keys of an endpoint. The old ones sign beside them until the grace is over, or with a grace of 0 no more from the next message on. */
export async function rotateWebhookSecret(
  ctx: Context,
  actor: Actor,
  { teamId, webhookId }: WebhookPlace,
  { graceSeconds = policy.graceSeconds }: { graceSeconds?: number },
): Promise<NewWebhook> {
  const rotated = await ctx.db.transaction(async (tx) => {
    await requireTeam(tx, actor, teamId, 'manageWebhooks')
    const row = requireFound(await lockWebhook(tx, webhookId, teamId), webhookId)
    const now = ctx.clock.now()
    await setKeysExpire(tx, webhookId, now + graceSeconds * 1000)
    const old = await listKeys(tx, [webhookId], now)
    if (old.length > policy.maxOldKeys)
      throw new AppError(
        'too_many_webhook_keys',
        { webhookId },
        { detail: 'Wait for one to end, or end them all: graceSeconds 0' },
      )
    const { key, secret } = await issueKey(ctx, tx, webhookId)
    await recordAudit(ctx, tx, actor, {
      action: 'webhook.secret_rotated',
      target: { kind: 'webhook', id: webhookId },
      teamId,
      details: { graceSeconds },
    })
    return { ...toWebhook(row, [key, ...old], now), secret }
  })
  ctx.bus.publish(`webhook:${webhookId}`)
  return rotated
}

/** The public keys of an endpoint, for everybody: they prove who sends and open nothing. */
export async function getWebhookKeys(ctx: Context, webhookId: string): Promise<{ keys: Webhook['keys'] }> {
  const keys = await listKeys(ctx.db.kysely, [webhookId], ctx.clock.now())
  if (keys.length === 0) throw new AppError('webhook_not_found', { webhookId })
  return { keys: keys.map(toKey) }
}

import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { mailText, quoted, sendMail } from '../platform/mail/mail.ts'
import { listOwnerEmails, setWebhook, skipPending, type WebhookRow } from './queries.ts'

const day = 86_400_000

/**
 * Disables a locked endpoint: what waits for it is skipped, and can be replayed once it is enabled again. When nobody did it by hand the team's owners are told by
 * mail and its other endpoints by an event.
 */
export async function disable(
  ctx: Context,
  tx: Db,
  actor: Actor,
  webhook: WebhookRow,
  reason: 'by_hand' | 'gone' | 'failing',
): Promise<WebhookRow> {
  const now = ctx.clock.now()
  const { id, teamId } = webhook
  await skipPending(tx, id, now)
  const row = await setWebhook(tx, id, { disabledAt: now, disabledReason: reason, updatedAt: now, nextRunAt: null })
  await recordAudit(ctx, tx, actor, {
    action: 'webhook.disabled',
    target: { kind: 'webhook', id },
    teamId,
    details: { reason, failures: webhook.failures },
  })
  if (reason === 'by_hand') return row
  await enqueueEvent(ctx, tx, { topic: 'webhook.disabled', teamId, payload: { webhookId: id, reason } })
  for (const to of await listOwnerEmails(tx, teamId)) await sendMail(ctx, tx, notice(ctx, to, row, now))
  return row
}

function notice(ctx: Context, to: string, webhook: WebhookRow, now: number) {
  const { id, url, disabledReason, failingSince, failures } = webhook
  // The host alone: an address may hold a secret in its path.
  const host = quoted(URL.parse(url)?.host ?? '')
  const days = Math.floor((now - (failingSince ?? now)) / day)
  return {
    to,
    kind: 'webhook_disabled',
    subject: 'A webhook of your team was disabled',
    text: mailText(ctx, [
      disabledReason === 'gone'
        ? `The webhook ${id} to ${host} was disabled: it answered 410, which means that nobody listens there any more.`
        : `The webhook ${id} to ${host} was disabled: its last ${failures} attempts failed, for ${days} days nothing was delivered.`,
      'Events that come meanwhile are kept for 30 days as skipped. Once the endpoint works again, enable the webhook and replay them.',
    ]),
  }
}

import type { NewWebhook, Webhook } from '@hivesync/contracts/webhooks.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { NetFailure } from '../platform/net/net-failure.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { lockTeam, requireTeam } from '../teams/teams.ts'
import { getPlan } from '../tiers/tiers.ts'
import { disable } from './disable.ts'
import { issueKey } from './keys.ts'
import {
  countWebhooks,
  deleteWebhookRow,
  findWebhook,
  insertWebhook,
  listKeys,
  listWebhookRows,
  lockWebhook,
  setWebhook,
  type WebhookRow,
} from './queries.ts'
import { requireFound, toWebhook } from './wire.ts'

export { toWebhooks } from './fan-out.ts'
export { webhookAttempts, webhookGauges } from './gauges.ts'
export { rewrapWebhookKeys } from './keys.ts'
export { pruneWebhooks } from './prune.ts'
export { sendWebhooks, webhooksSettled } from './send.ts'

export interface WebhookPlace {
  readonly teamId: string
  readonly webhookId: string
}

/** Makes an endpoint and its keys; the address is judged as each delivery will judge it. The secret is in this answer and in no other. */
export async function createWebhook(
  ctx: Context,
  actor: Actor,
  teamId: string,
  body: { url: string; events: readonly string[]; description?: string | null },
): Promise<NewWebhook> {
  // First, and not only in the transaction: our name servers answer nobody else's questions.
  await requireTeam(ctx.db.kysely, actor, teamId, 'manageWebhooks')
  const url = await requireUrl(ctx, body.url)
  const now = ctx.clock.now()
  return ctx.db.transaction(async (tx) => {
    await lockTeam(tx, teamId)
    await requireTeam(tx, actor, teamId, 'manageWebhooks')
    const { webhookEndpoints } = await getPlan(tx, teamId)
    if ((await countWebhooks(tx, teamId)) >= webhookEndpoints)
      throw new AppError('too_many_webhooks', { teamId }, { detail: `The plan of the team has ${webhookEndpoints}` })
    const row = await insertWebhook(tx, {
      id: ctx.random.id(),
      teamId,
      url,
      description: body.description?.normalize('NFC') ?? null,
      events: JSON.stringify(body.events),
      createdBy: actor.userId,
      createdAt: now,
      updatedAt: now,
    })
    const { key, secret } = await issueKey(ctx, tx, row.id)
    await audit(ctx, tx, actor, row, 'webhook.created')
    return { ...toWebhook(row, [key], now), secret }
  })
}

export async function listWebhooks(
  ctx: Context,
  actor: Actor,
  teamId: string,
  query: { limit?: string; cursor?: string },
): Promise<Page<Webhook>> {
  const db = ctx.db.kysely
  await requireTeam(db, actor, teamId, 'manageWebhooks')
  const request = pageRequest(query)
  const rows = await listWebhookRows(db, teamId, request)
  const now = ctx.clock.now()
  const ids = rows.map(({ id }) => id)
  const keys = Map.groupBy(await listKeys(db, ids, now), ({ webhookId }) => webhookId)
  return toPage(
    rows,
    request,
    (row) => row.id,
    (row) => toWebhook(row, keys.get(row.id) ?? [], now),
  )
}

export async function getWebhook(ctx: Context, actor: Actor, { teamId, webhookId }: WebhookPlace): Promise<Webhook> {
  const db = ctx.db.kysely
  await requireTeam(db, actor, teamId, 'manageWebhooks')
  const now = ctx.clock.now()
  const row = requireFound(await findWebhook(db, teamId, webhookId), webhookId)
  return toWebhook(row, await listKeys(db, [webhookId], now), now)
}

/** Changes an endpoint; enabled again it begins with a clean slate, and what was skipped meanwhile waits for a replay. */
export async function updateWebhook(
  ctx: Context,
  actor: Actor,
  { teamId, webhookId }: WebhookPlace,
  change: { url?: string; events?: readonly string[]; description?: string | null; enabled?: boolean },
): Promise<Webhook> {
  await requireTeam(ctx.db.kysely, actor, teamId, 'manageWebhooks')
  const url = change.url === undefined ? undefined : await requireUrl(ctx, change.url)
  const changed = await ctx.db.transaction(async (tx) => {
    await requireTeam(tx, actor, teamId, 'manageWebhooks')
    const before = requireFound(await lockWebhook(tx, webhookId, teamId), webhookId)
    const now = ctx.clock.now()
    const isEnabled = change.enabled === true && before.disabledAt !== null
    const row = await setWebhook(tx, webhookId, {
      ...(url !== undefined && { url }),
      ...(change.events !== undefined && { events: JSON.stringify(change.events) }),
      ...(change.description !== undefined && { description: change.description?.normalize('NFC') ?? null }),
      // Another address, or the same one after a repair: what failed before says nothing of it.
      ...((isEnabled || url !== undefined) && { failures: 0, failingSince: null, openUntil: null }),
      ...(isEnabled && { disabledAt: null, disabledReason: null }),
      ...(before.nextRunAt !== null && url !== undefined && { nextRunAt: now }),
      updatedAt: now,
    })
    await audit(
      ctx,
      tx,
      actor,
      row,
      isEnabled ? 'webhook.enabled' : 'webhook.updated',
      Object.keys(change).sort().join(' '),
    )
    const isToEnd = change.enabled === false && row.disabledAt === null
    const after = isToEnd ? await disable(ctx, tx, actor, row, 'by_hand') : row
    return toWebhook(after, await listKeys(tx, [webhookId], now), now)
  })
  ctx.bus.publish(`webhook:${webhookId}`)
  return changed
}

/** Deletes an endpoint with all that was or was to be delivered to it. */
export async function deleteWebhook(ctx: Context, actor: Actor, { teamId, webhookId }: WebhookPlace): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    await requireTeam(tx, actor, teamId, 'manageWebhooks')
    const row = requireFound(await lockWebhook(tx, webhookId, teamId), webhookId)
    await deleteWebhookRow(tx, teamId, webhookId)
    await audit(ctx, tx, actor, row, 'webhook.deleted')
  })
  ctx.bus.publish(`webhook:${webhookId}`)
}

async function requireUrl(ctx: Context, text: string): Promise<string> {
  const url = URL.parse(text)
  try {
    if (url === null) throw new NetFailure('address_refused', 'it is not an address')
    // The part after # never leaves; who writes one expects something of it.
    if (url.hash !== '') throw new NetFailure('address_refused', 'an address with a fragment is not allowed')
    await ctx.net.judge(url)
    return url.href
  } catch (error) {
    if (!(error instanceof NetFailure)) throw error
    throw new AppError('webhook_url_refused', { reason: error.reason }, { detail: `${error.reason}: ${error.message}` })
  }
}

function audit(
  ctx: Context,
  tx: Db,
  actor: Actor,
  { id, teamId, url }: WebhookRow,
  action: string,
  changed: string | null = null,
): Promise<void> {
  const details = { host: URL.parse(url)?.host ?? null, changed }
  return recordAudit(ctx, tx, actor, { action, target: { kind: 'webhook', id }, teamId, details })
}

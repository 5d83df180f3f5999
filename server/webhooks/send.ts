import type { Context } from '../platform/context.ts'
import { runLane } from './lane.ts'
import { policy } from './policy.ts'
import { hasDueWebhook, leaseDue } from './queries.ts'

interface Sender {
  /** Names this process in leases. */
  readonly holder: string
  readonly lanes: Map<string, Promise<void>>
  /** How many of them are of endpoints that fail: these may take half of the places, so that hanging ones never keep out those that answer. */
  failing: number
}

const senders = new WeakMap<Context, Sender>()

function senderOf(ctx: Context): Sender {
  const sender = senders.get(ctx) ?? { holder: ctx.random.id(), lanes: new Map(), failing: 0 }
  senders.set(ctx, sender)
  return sender
}

/** Begins to deliver to the endpoints for which something is due, each by itself, and waits for none of them; answers how many it began. */
export async function sendWebhooks(ctx: Context): Promise<number> {
  const sender = senderOf(ctx)
  const limit = policy.maxLanes - sender.lanes.size
  if (ctx.net.isClosed || limit <= 0) return 0
  // Mostly there is nothing, and that needs no transaction.
  if (!(await hasDueWebhook(ctx.db.kysely, ctx.clock.now()))) return 0
  const now = ctx.clock.now()
  const terms = { holder: sender.holder, until: now + policy.leaseMs }
  const room = policy.maxLanes / 2 - sender.failing
  const leased = await ctx.db.transaction(async (tx) => {
    const healthy = await leaseDue(tx, now, { ...terms, limit, healthyOnly: true })
    const others = Math.min(limit - healthy.length, room)
    if (others <= 0) return healthy
    return [...healthy, ...(await leaseDue(tx, now, { ...terms, limit: others, healthyOnly: false }))]
  })
  for (const { id, failures } of leased) begin(ctx, sender, id, failures > 0)
  return leased.length
}

function begin(ctx: Context, sender: Sender, webhookId: string, isFailing: boolean): void {
  if (isFailing) sender.failing++
  // After one of ours whose lease ran out beneath it, as when the clock was set: an endpoint has one lane, or the limit of requests under way would be none.
  const before = sender.lanes.get(webhookId) ?? Promise.resolve()
  const lane = before
    .then(() => runLane(ctx, webhookId, sender.holder))
    .catch((error: unknown) => ctx.log.error({ event: 'webhook_lane_failed', name: webhookId }, error))
    .finally(() => {
      if (isFailing) sender.failing--
      if (sender.lanes.get(webhookId) === lane) sender.lanes.delete(webhookId)
    })
  sender.lanes.set(webhookId, lane)
}

/** Resolves when nothing is being delivered; to be called once `ctx.net` is closed. */
export async function webhooksSettled(ctx: Context): Promise<void> {
  const { lanes } = senderOf(ctx)
  while (lanes.size > 0) await Promise.all(lanes.values())
}

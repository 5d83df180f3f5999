import type { Context } from '../platform/context.ts'
import type { NetReply } from '../platform/net/net.ts'
import { NetFailure } from '../platform/net/net-failure.ts'
import type { Lane } from './lane.ts'
import { policy, readRetryAfter } from './policy.ts'
import type { DeliveryRow } from './queries.ts'
import type { Attempt } from './record.ts'

export const userAgent = 'HiveSync-Webhooks/1'

/** The header `webhook-id`: the event's, so that a receiver knows a message it has had, from whichever endpoint and at whichever attempt. */
export function messageIdOf(eventId: string): string {
  return `msg_${eventId.replaceAll('-', '')}`
}

/** The headers of an attempt, as Standard Webhooks 1.0.0 names them. The time is the attempt's. */
export function headersOf(delivery: DeliveryRow, at: number, signature: string): Record<string, string> {
  return {
    'content-type': 'application/json',
    'user-agent': userAgent,
    'webhook-id': messageIdOf(delivery.eventId),
    'webhook-timestamp': String(Math.floor(at / 1000)),
    'webhook-signature': signature,
  }
}

/** Sends a delivery once and says what came of it; undefined when the server stopped meanwhile, of which nobody is to blame. */
export async function attemptDelivery(ctx: Context, lane: Lane, delivery: DeliveryRow): Promise<Attempt | undefined> {
  const { url, signer, webhook } = lane
  const at = ctx.clock.now()
  const messageId = messageIdOf(delivery.eventId)
  const signature = signer.sign(messageId, Math.floor(at / 1000), delivery.payload)
  const headers = headersOf(delivery, at, signature)
  const about = {
    deliveryId: delivery.id,
    webhookId: webhook.id,
    number: delivery.attempts + 1,
    tries: delivery.tries + 1,
    at,
  }
  try {
    const { timeoutMs } = policy
    const reply = await ctx.net.post({ url, lane: webhook.id, headers, body: delivery.payload, timeoutMs })
    return { ...about, durationMs: ctx.clock.now() - at, ...judge(reply, ctx.clock.now()) }
  } catch (error) {
    if (!(error instanceof NetFailure)) throw error
    if (error.reason === 'closed') return undefined
    const { reason, remoteAddress } = error
    const nothing = { status: null, response: null, retryAfterMs: undefined }
    return { ...about, ...nothing, durationMs: ctx.clock.now() - at, error: reason, remoteAddress }
  }
}

function judge(
  { status, remoteAddress, retryAfter, body }: NetReply,
  now: number,
): Pick<Attempt, 'status' | 'error' | 'remoteAddress' | 'response' | 'retryAfterMs'> {
  // As text that both databases take: a NUL is none of PostgreSQL's.
  const response = Buffer.from(body).toString('utf8').replaceAll('\0', '\uFFFD')
  return { status, remoteAddress, response, error: errorOf(status), retryAfterMs: readRetryAfter(retryAfter, now) }
}

/** Only 2xx is a success; a redirect is not followed, or who gave the address would not be who receives. */
function errorOf(status: number): string | null {
  if (status >= 200 && status < 300) return null
  if (status === 410) return 'gone'
  return status >= 300 && status < 400 ? 'redirect' : 'status'
}

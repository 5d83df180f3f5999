// For tests only: endpoints that really listen, and the outbox handed out and delivered until nothing more is due.
import assert from 'node:assert/strict'
import * as contract from '@hivesync/contracts/webhooks.ts'
import type { Hive, Person } from '../../test/harness/hive.ts'
import { enqueueEvent } from '../audit/audit.ts'
import { consumeOutbox } from '../outbox/outbox.ts'
import { parseConfig } from '../platform/config.ts'
import { type Receiver, startReceiver } from '../platform/net/test-receiver.ts'
import { sendWebhooks, toWebhooks, webhooksSettled } from './webhooks.ts'

/** What `describeHive`'s `open` takes, so that webhooks may go to this machine. */
export const localEgress = {
  config: {
    egress: parseConfig({ HIVESYNC_EGRESS_ALLOW: '127.0.0.0/8', HIVESYNC_DNS_SERVERS: '127.0.0.1:9' }).egress,
  },
}

export type Listening = Receiver & AsyncDisposable

export async function listening(...args: Parameters<typeof startReceiver>): Promise<Listening> {
  const receiver = await startReceiver(...args)
  return { ...receiver, [Symbol.asyncDispose]: receiver.close }
}

/** An endpoint of somebody's personal team. */
export async function webhookFor(
  hive: Hive,
  { token, teamId }: Person,
  url: string,
  events: string[] = ['*'],
): Promise<contract.NewWebhook> {
  const reply = await hive.call(contract.createWebhook, { token, params: { teamId }, body: { url, events } })
  assert.equal(reply.status, 201, JSON.stringify(reply.problem))
  return reply.body
}

export function tell(hive: Hive, teamId: string, count = 1, topic = 'project.updated'): Promise<void> {
  return hive.ctx.db.transaction(async (tx) => {
    for (let i = 0; i < count; i++)
      await enqueueEvent(hive.ctx, tx, { topic, teamId, payload: { projectId: hive.ctx.random.id() } })
  })
}

/** Hands out what was told, and delivers it as far as it goes at this moment. */
export async function deliver({ ctx }: Hive): Promise<void> {
  await consumeOutbox(ctx, [toWebhooks])
  while ((await sendWebhooks(ctx)) > 0) await webhooksSettled(ctx)
}

/** The deliveries of an endpoint, oldest first; by a session of now, for a test may have let days go by. */
export async function deliveriesOf(hive: Hive, { username, teamId }: Person, webhookId: string) {
  const { token } = await hive.logInAgain(username)
  const query = { limit: '200' }
  const reply = await hive.call(contract.listDeliveries, { token, params: { teamId, webhookId }, query })
  return reply.body.items.reverse()
}

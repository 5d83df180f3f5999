import {
  createWebhook,
  type Delivery,
  deleteWebhook,
  getDelivery,
  getWebhook,
  listDeliveries,
  listWebhooks,
  replayWebhook,
  rotateWebhookSecret,
  testWebhook,
  updateWebhook,
  type Webhook,
} from '@hivesync/contracts/webhooks.ts'
import type { Peer } from '../../sdk/test-support/peer.ts'
import { idOf, user } from '../../sdk/test-support/samples.ts'

const time = '2026-01-02T03:04:05.678Z'
const publicKey = `whpk_${'A'.repeat(43)}=`
const webhook: Webhook = {
  id: idOf(70),
  teamId: idOf(4),
  url: 'https://example.org/hook',
  description: 'for the chat',
  events: ['job.*'],
  state: 'paused',
  disabledReason: null,
  disabledAt: null,
  pausedUntil: time,
  failingSince: time,
  failures: 5,
  publicKey,
  keys: [
    { id: idOf(72), publicKey, createdAt: time, expiresAt: null },
    { id: idOf(73), publicKey, createdAt: time, expiresAt: time },
  ],
  createdBy: user.id,
  createdAt: time,
}
const secret = `whsec_${'A'.repeat(43)}=`
const delivery: Delivery = {
  id: idOf(71),
  messageId: 'msg_1',
  type: 'job.failed',
  state: 'pending',
  attempts: 1,
  createdAt: time,
  nextAttemptAt: time,
  finishedAt: null,
  lastStatus: 500,
  lastError: 'status',
}
const attempt = {
  ...{ number: 1, at: time, durationMs: 12, status: 500, error: 'status', remoteAddress: '192.0.2.1', response: 'no' },
  requestHeaders: { 'webhook-id': 'msg_1' },
}

/** One webhook that has failed lately, with one delivery. */
export function serveWebhooks(peer: Peer): void {
  peer.on(listWebhooks, () => ({ items: [webhook], nextCursor: null }))
  peer.on(getWebhook, () => webhook)
  peer.on(createWebhook, ({ body }) => ({ ...webhook, url: body.url, secret }))
  peer.on(updateWebhook, () => webhook)
  peer.on(deleteWebhook, () => undefined)
  peer.on(rotateWebhookSecret, () => ({ ...webhook, secret }))
  peer.on(testWebhook, () => delivery)
  peer.on(replayWebhook, () => ({ replayed: 1, remaining: true, next: time }))
  peer.on(listDeliveries, () => ({ items: [delivery], nextCursor: null }))
  peer.on(getDelivery, () => ({ ...delivery, payload: '{}', attemptLog: [attempt] }))
}

import type { Webhook } from '@hivesync/contracts/webhooks.ts'
import { fieldLines } from './table.ts'
import type { Line } from './terminal.ts'

/** A webhook in words, its secret never among them. */
export function webhookLines(webhook: Webhook): Line[] {
  return [
    `Webhook ${webhook.id}`,
    ...fieldLines([
      ['address', webhook.url],
      ['description', webhook.description ?? undefined],
      ['events', webhook.events.join(', ')],
      ['state', stateOf(webhook)],
      ['failing since', webhook.failingSince ?? undefined],
      ['public key', webhook.publicKey],
      ...webhook.keys
        .filter(({ expiresAt }) => expiresAt !== null)
        .map(({ publicKey, expiresAt }) => ['old key', `${publicKey}, until ${expiresAt}`] as const),
      ['created', webhook.createdAt],
    ]),
  ]
}

export function stateOf({ state, disabledReason, pausedUntil, failures }: Webhook): string {
  if (state === 'disabled') return `disabled (${disabledReason})`
  return state === 'paused' ? `paused until ${pausedUntil} after ${failures} failures` : state
}

import { gaugeGroup } from '../platform/gauges.ts'
import type { CounterSpec } from '../platform/metrics.ts'

export const webhookAttempts: CounterSpec<'outcome'> = {
  name: 'hivesync_webhook_attempts_total',
  help: 'Attempts to deliver, by what came of them',
  labels: { outcome: ['succeeded', 'failed'] },
}

/** How the endpoints of teams are, and what waits for them. Their attempts are counted where they are made. */
export const webhookGauges = gaugeGroup({
  name: 'webhooks',
  families: {
    hivesync_webhooks: 'Endpoints, by how they are',
    hivesync_webhook_deliveries_pending: 'Deliveries that wait for an endpoint, or for its next try',
    hivesync_outbox_events: 'Committed events that nobody has been told of yet',
  },
  async read({ db: { kysely } }) {
    const endpoints = await kysely.selectFrom('webhooks').select(['disabledAt', 'failingSince']).execute()
    const states = { working: 0, failing: 0, disabled: 0 }
    for (const { disabledAt, failingSince } of endpoints)
      states[disabledAt !== null ? 'disabled' : failingSince !== null ? 'failing' : 'working']++
    const { pending } = await kysely
      .selectFrom('webhookDeliveries')
      .select(({ fn }) => fn.countAll<number>().as('pending'))
      .where('state', '=', 'pending')
      .executeTakeFirstOrThrow()
    const { events } = await kysely
      .selectFrom('outbox')
      .select(({ fn }) => fn.countAll<number>().as('events'))
      .executeTakeFirstOrThrow()
    return [
      ...Object.entries(states).map(([state, value]) => ({
        ...{ name: 'hivesync_webhooks' as const, labels: { state }, value },
      })),
      { name: 'hivesync_webhook_deliveries_pending', value: pending },
      { name: 'hivesync_outbox_events', value: events },
    ]
  },
})

import { gaugeGroup } from '../platform/gauges.ts'
import type { CounterSpec } from '../platform/metrics.ts'
import { countLeaves, countPending, findLastCheckpoint } from './queries.ts'

export const sinkDeliveries: CounterSpec<'outcome'> = {
  name: 'hivesync_audit_sink_deliveries_total',
  help: 'Deliveries to the sink of the audit log, by what came of them',
  labels: { outcome: ['succeeded', 'failed'] },
}

/** How far the log is behind what was committed, its signatures behind the log, and its sink behind both. */
export const auditGauges = gaugeGroup({
  name: 'audit',
  families: {
    hivesync_audit_leaves: 'Leaves of the audit log',
    hivesync_audit_pending: 'Committed events that are not in the log yet',
    hivesync_audit_oldest_pending_seconds: 'How long the oldest of them has waited',
    hivesync_audit_unsigned: 'Leaves that came after the last checkpoint',
    hivesync_audit_sink_lag: 'Leaves that the sink of the audit log does not have yet',
  },
  async read({ db: { kysely }, clock }) {
    const oldest = await kysely
      .selectFrom('auditPending')
      .innerJoin('auditEvents', 'auditEvents.id', 'auditPending.eventId')
      .select('at')
      .orderBy('auditPending.eventId')
      .limit(1)
      .executeTakeFirst()
    const leaves = await countLeaves(kysely)
    const sinks = await kysely.selectFrom('auditShipping').select('nextSeq').execute()
    return [
      { name: 'hivesync_audit_leaves', value: leaves },
      { name: 'hivesync_audit_pending', value: await countPending(kysely) },
      {
        name: 'hivesync_audit_oldest_pending_seconds',
        value: oldest === undefined ? 0 : (clock.now() - oldest.at) / 1000,
      },
      { name: 'hivesync_audit_unsigned', value: leaves - ((await findLastCheckpoint(kysely))?.size ?? 0) },
      { name: 'hivesync_audit_sink_lag', value: Math.max(0, ...sinks.map(({ nextSeq }) => leaves - nextSeq)) },
    ]
  },
})

import { gaugeGroup } from '../platform/gauges.ts'
import { counterDrift } from './reconcile.ts'

/** What must stay at 0. */
export const jobGauges = gaugeGroup({
  name: 'jobs',
  families: {
    hivesync_counter_drift_total: 'Counters of queues and teams that were found to differ from what they count',
  },
  read: (ctx) => [{ name: 'hivesync_counter_drift_total', value: counterDrift(ctx) }],
})

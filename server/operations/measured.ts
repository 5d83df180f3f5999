import { auditGauges, sinkDeliveries } from '../audit/audit.ts'
import { jobCounters, jobGauges } from '../jobs/jobs.ts'
import { keyGauges } from '../keys/keys.ts'
import { databaseGauges } from '../platform/db/database-gauges.ts'
import type { GaugeGroup } from '../platform/gauges.ts'
import { streamGauges } from '../platform/http/live-loop.ts'
import { mailGauges } from '../platform/mail/mail-gauges.ts'
import type { CounterSpec, HistogramSpec } from '../platform/metrics.ts'
import { poolGauges } from '../scaling/scaling.ts'
import { storageGauges } from '../storage/storage.ts'
import { webhookAttempts, webhookGauges } from '../webhooks/webhooks.ts'
import { workerGauges } from '../workers/workers.ts'
import { dependencyGauges } from './dependencies.ts'
import { taskGauges } from './tasks.ts'

/** Every noun that has figures of its own to show: it exports a group from its main file, and has its line here. */
export const gaugeGroups: readonly GaugeGroup[] = [
  poolGauges,
  jobGauges,
  workerGauges,
  keyGauges,
  storageGauges,
  auditGauges,
  webhookGauges,
  mailGauges,
  streamGauges,
  databaseGauges,
  taskGauges,
  dependencyGauges,
]

/** What is counted, whose series are there from the start. */
export const counters: readonly (CounterSpec | HistogramSpec)[] = [...jobCounters, webhookAttempts, sinkDeliveries]

import type { QueueLoad } from '@hivesync/contracts/scaling.ts'
import type { FastifyReply } from 'fastify'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Context } from '../platform/context.ts'
import { readLoads } from './scaling.ts'

const gauges = {
  hivesync_jobs_queued: ['Jobs that wait and could start now', ({ queued }: QueueLoad) => queued],
  hivesync_jobs_running: ['Jobs that workers hold', ({ running }: QueueLoad) => running],
  hivesync_jobs_unplaceable: [
    'Waiting jobs that no worker of the pool could take',
    ({ unplaceable }: QueueLoad) => unplaceable,
  ],
  hivesync_oldest_queued_seconds: [
    'How long the oldest job that could start has waited',
    (load: QueueLoad) => load.oldestQueuedSeconds,
  ],
  hivesync_estimated_load_slots: [
    'Slots that would end all work within a minute',
    (load: QueueLoad) => load.estimatedLoad,
  ],
  hivesync_desired_slots: ['The same in whole slots', (load: QueueLoad) => load.desiredSlots],
  hivesync_slots: ['Slots of the workers online and not draining', ({ slots }: QueueLoad) => slots],
  hivesync_free_slots: ['Those without a job', ({ freeSlots }: QueueLoad) => freeSlots],
  hivesync_draining_slots: [
    'Slots of workers that only finish what they hold',
    (load: QueueLoad) => load.drainingSlots,
  ],
  hivesync_needs_scale_out: ['1 when more workers would help', (load: QueueLoad) => Number(load.needsScaleOut)],
  hivesync_needs_scale_in: ['1 when idle workers may go', (load: QueueLoad) => Number(load.needsScaleIn)],
} as const

export interface Metrics {
  /** Every pool in use and the process, as Prometheus reads it. The only label is the pool, which operators name. */
  send(reply: FastifyReply): Promise<FastifyReply>
}

export function createMetrics(ctx: Context): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const pools = Object.entries(gauges).map(([name, [help, read]]) => ({
    gauge: new Gauge({ name, help, labelNames: ['pool'], registers: [registry] }),
    read,
  }))
  return {
    async send(reply) {
      const loads = await readLoads(ctx)
      for (const { gauge, read } of pools) {
        // A pool that is gone must not go on with its last figure.
        gauge.reset()
        for (const load of loads) gauge.set({ pool: load.pool }, read(load))
      }
      return reply.type(registry.contentType).send(await registry.metrics())
    },
  }
}

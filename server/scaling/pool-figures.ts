import type { QueueLoad } from '@hivesync/contracts/scaling.ts'

/** What is said of each pool, by the name of the metric. */
export const poolFigures = {
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

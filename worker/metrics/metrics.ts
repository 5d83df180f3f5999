import type { Clock } from '../clock.ts'
import type { Sandbox } from '../sandbox/spec.ts'

/** What the endpoint tells of a worker; nothing in it comes from a job. */
export interface Gauges {
  slots: number
  running: number
  /** Results that the server has not acknowledged, and their bytes on disk. */
  outboxResults: number
  outboxBytes: number
  /** Whether jobs are taken; 0 while the disk is full, there is no sandbox, or the worker drains. */
  taking: boolean
  lastContactSeconds: number | undefined
  clockSkewSeconds: number | undefined
}

export const outcomes = ['succeeded', 'failed', 'canceled', 'returned'] as const

export interface Metrics {
  jobEnded(outcome: (typeof outcomes)[number]): void
  /** What a run in the sandbox took beyond the command's own time. */
  sandboxRan(overheadSeconds: number): void
  /** Prometheus's text format, version 0.0.4. */
  text(gauges: Gauges): string
}

interface Family {
  name: string
  help: string
  type: 'gauge' | 'counter' | 'summary'
  samples: [suffix: string, value: number][]
}

/** Written by hand: a client library would take more memory than the rest of the endpoint. */
export function createMetrics(): Metrics {
  const ended = new Map<string, number>(outcomes.map((outcome) => [outcome, 0]))
  let [runs, overheadSeconds] = [0, 0]
  return {
    jobEnded(outcome) {
      ended.set(outcome, (ended.get(outcome) ?? 0) + 1)
    },
    sandboxRan(seconds) {
      runs += 1
      overheadSeconds += seconds
    },
    text(gauges) {
      const families: Family[] = [
        gauge('slots', 'Jobs that may run at once', gauges.slots),
        gauge('running', 'Jobs that run now', gauges.running),
        gauge('taking_jobs', '1 while jobs are taken, 0 while they are refused', gauges.taking ? 1 : 0),
        gauge('outbox_results', 'Results the server has not acknowledged', gauges.outboxResults),
        gauge('outbox_bytes', 'Bytes of results and their files on disk', gauges.outboxBytes),
        gauge('last_contact_seconds', 'Time since the server last answered', gauges.lastContactSeconds),
        gauge('clock_skew_seconds', 'How far this clock is ahead of the server', gauges.clockSkewSeconds),
        {
          name: 'jobs_ended_total',
          help: 'Jobs that ended here, by outcome',
          type: 'counter',
          samples: [...ended].map(([outcome, count]) => [`{outcome="${outcome}"}`, count]),
        },
        {
          name: 'sandbox_overhead_seconds',
          help: 'What runs in the sandbox took beyond their own time',
          type: 'summary',
          samples: [
            ['_sum', overheadSeconds],
            ['_count', runs],
          ],
        },
      ]
      return families.map(write).join('')
    },
  }
}

function gauge(name: string, help: string, value: number | undefined): Family {
  return { name, help, type: 'gauge', samples: [['', value ?? Number.NaN]] }
}

function write({ name, help, type, samples }: Family): string {
  const full = `hivesync_worker_${name}`
  const lines = samples.map(([suffix, value]) => `${full}${suffix} ${Number.isNaN(value) ? 'NaN' : value}\n`)
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`
}

/** The sandbox, its runs measured. */
export function timed(sandbox: Sandbox, clock: Clock, metrics: Metrics): Sandbox {
  return {
    ...sandbox,
    async run(spec) {
      const beganMs = clock.monotonicMs()
      const result = await sandbox.run(spec)
      const overheadMs = clock.monotonicMs() - beganMs - result.receipt.wallMs
      metrics.sandboxRan(Math.max(0, overheadMs) / 1000)
      return result
    },
  }
}

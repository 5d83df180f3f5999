import type { Context } from '../platform/context.ts'
import { type GaugeGroup, gaugeGroup, type Reading } from '../platform/gauges.ts'
import type { Windows } from '../platform/limits/windows.ts'
import { type CounterSpec, type Family, writeFamilies } from '../platform/metrics.ts'
import { counters, gaugeGroups } from './measured.ts'

/** Prometheus gives up after ten seconds; what the database does not say by then is left out. */
const patienceMs = 5000

/** Prometheus' text format. */
export const metricsType = 'text/plain; version=0.0.4; charset=utf-8'

const unread: CounterSpec<'group'> = {
  name: 'hivesync_metrics_unread_total',
  help: 'Times that a group of figures could not be read, and is missing',
  labels: { group: [...gaugeGroups.map(({ name }) => name), 'limits'] },
}

export interface MetricsPage {
  /** Everything that there is to read; requests at the same time share one reading. What cannot be read is left out and named. */
  text(): Promise<string>
}

export function createMetricsPage(ctx: Context, windows: Windows): MetricsPage {
  const groups = [...gaugeGroups, limitGauges(windows)]
  for (const counter of [...counters, unread]) ctx.metrics.declare(counter)

  async function read(): Promise<string> {
    const gauges = await Promise.all(
      groups.map(async (group) => {
        try {
          return toFamilies(group, await inTime(async () => group.read(ctx)))
        } catch (error) {
          ctx.metrics.count(unread, { group: group.name })
          ctx.log.error({ event: 'metrics_unread', name: group.name }, error)
          return []
        }
      }),
    )
    return writeFamilies([...ctx.metrics.families(), ...gauges.flat()]) + (await ctx.metrics.processText())
  }

  let reading: Promise<string> | undefined
  return {
    text() {
      reading ??= read().finally(() => {
        reading = undefined
      })
      return reading
    },
  }
}

function limitGauges(windows: Windows): GaugeGroup {
  const name = 'hivesync_limits_state'
  return gaugeGroup({
    name: 'limits',
    families: { [name]: '1 at where requests are counted: in memory, shared in Redis, or degraded: Redis is away' },
    read: () =>
      (['memory', 'shared', 'degraded'] as const).map((state) => {
        return { name, labels: { state }, value: windows.state === state ? 1 : 0 }
      }),
  })
}

function toFamilies({ families }: GaugeGroup, readings: readonly Reading[]): Family[] {
  return Object.entries(families).map(([name, help]) => ({
    ...{ name, help, type: name.endsWith('_total') ? 'counter' : 'gauge' },
    samples: readings.filter((reading) => reading.name === name),
  }))
}

async function inTime<T>(read: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('no answer in time')), patienceMs)
  try {
    return await Promise.race([read(), late.promise])
  } finally {
    clearTimeout(timer)
  }
}

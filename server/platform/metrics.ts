import { collectDefaultMetrics, Registry } from 'prom-client'

/** Something that is counted, as data: each label with every value that it may have. */
export interface CounterSpec<Label extends string = string> {
  readonly name: string
  readonly help: string
  readonly labels: Readonly<Record<Label, readonly string[]>>
}

/** Something of which the sizes or durations are counted by how large they are. */
export interface HistogramSpec {
  readonly name: string
  readonly help: string
  /** Upper bounds, ascending. */
  readonly bounds: readonly number[]
}

export interface Sample {
  readonly suffix?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

/** What Prometheus reads under one name. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly Sample[]
}

/** What this process has counted since it started. Nothing that somebody sends makes a series: labels have the values that their specs list, or `other`. */
export interface Metrics {
  /** Has the series there from the start, at 0: of one that appears with its first event, `rate()` does not see that event. */
  declare(spec: CounterSpec | HistogramSpec): void
  count<Label extends string>(counter: CounterSpec<Label>, labels: Readonly<Record<Label, string>>, by?: number): void
  observe(histogram: HistogramSpec, value: number): void
  /** Adds families that somebody else keeps, on a path too hot for `count`. */
  include(families: () => readonly Family[]): void
  families(): readonly Family[]
  /** The state of the process: memory, CPU time, the event loop's delay. */
  processText(): Promise<string>
}

export const otherValue = 'other'

export function createMetrics(): Metrics {
  const counters = new Map<CounterSpec, Map<string, { labels: Readonly<Record<string, string>>; value: number }>>()
  const histograms = new Map<HistogramSpec, Histogram>()
  const included: (() => readonly Family[])[] = []
  let registry: Registry | undefined

  function seriesOf(spec: CounterSpec) {
    const known = counters.get(spec)
    if (known !== undefined) return known
    const series = new Map(combinationsOf(spec).map((labels) => [keyOf(spec, labels), { labels, value: 0 }]))
    counters.set(spec, series)
    return series
  }

  function histogramOf(spec: HistogramSpec): Histogram {
    const histogram = histograms.get(spec) ?? new Histogram(spec.bounds)
    histograms.set(spec, histogram)
    return histogram
  }

  return {
    declare: (spec) => void ('bounds' in spec ? histogramOf(spec) : seriesOf(spec)),
    count(spec, labels, by = 1) {
      const series = seriesOf(spec)
      const bounded = series.has(keyOf(spec, labels)) ? labels : boundedLabels(spec, labels)
      const key = keyOf(spec, bounded)
      const entry = series.get(key) ?? { labels: bounded, value: 0 }
      entry.value += by
      series.set(key, entry)
    },
    observe(spec, value) {
      histogramOf(spec).observe(value)
    },
    include: (families) => void included.push(families),
    families: () => [
      ...[...counters].map(([{ name, help }, series]) => ({
        ...{ name, help, type: 'counter' as const },
        samples: [...series.values()],
      })),
      ...[...histograms].map(([{ name, help }, histogram]) => ({
        ...{ name, help, type: 'histogram' as const },
        samples: histogram.samples({}),
      })),
      ...included.flatMap((families) => families()),
    ],
    processText() {
      // Made when somebody first asks: its watch of the event loop costs a timer.
      if (registry === undefined) {
        registry = new Registry()
        collectDefaultMetrics({ register: registry })
      }
      return registry.metrics()
    },
  }
}

/** Counts values by their size, in the buckets of Prometheus' histograms. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += value
  }

  get isEmpty(): boolean {
    return this.#counts.every((count) => count === 0)
  }

  /** Cumulative, as Prometheus wants them. */
  samples(labels: Readonly<Record<string, string>>): Sample[] {
    let total = 0
    const buckets = this.#counts.map((count, index) => {
      total += count
      const le = index < this.#bounds.length ? String(this.#bounds[index]) : '+Inf'
      return { suffix: '_bucket', labels: { ...labels, le }, value: total }
    })
    return [...buckets, { suffix: '_sum', labels, value: this.#sum }, { suffix: '_count', labels, value: total }]
  }
}

/** Prometheus' text format, version 0.0.4. */
export function writeFamilies(families: readonly Family[]): string {
  return families.map(writeFamily).join('')
}

function writeFamily({ name, help, type, samples }: Family): string {
  const lines = samples.map(({ suffix = '', labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
    return `${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`
  })
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function escapeLabel(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}

function keyOf(spec: CounterSpec, labels: Readonly<Record<string, string>>): string {
  let key = ''
  for (const label in spec.labels) key += `${labels[label]}\n`
  return key
}

function boundedLabels(spec: CounterSpec, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(spec.labels).map(([label, values]) => {
    const value = labels[label]
    return [label, value !== undefined && values.includes(value) ? value : otherValue]
  })
  return Object.fromEntries(entries)
}

function combinationsOf(spec: CounterSpec): Record<string, string>[] {
  return Object.entries(spec.labels).reduce<Record<string, string>[]>(
    (found, [label, values]) => found.flatMap((labels) => values.map((value) => ({ ...labels, [label]: value }))),
    [{}],
  )
}

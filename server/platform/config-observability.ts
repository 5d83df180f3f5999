import type { Reader } from './config-reader.ts'

export interface ObservabilitySettings {
  /** Where `/metrics` is served without credentials; null for nowhere. */
  readonly metricsListener: { readonly host: string; readonly port: number } | null
}

/** Settings of what shows how the server is; `config.ts` counts these names among the known ones. */
export const observabilityNames = ['HIVESYNC_METRICS_PORT', 'HIVESYNC_METRICS_HOST'] as const

export function readObservability(read: Reader, problems: string[]): ObservabilitySettings {
  return Object.freeze({ metricsListener: readMetricsListener(read, problems) })
}

function readMetricsListener(read: Reader, problems: string[]): ObservabilitySettings['metricsListener'] {
  const host = read.text('HIVESYNC_METRICS_HOST')
  if (read.text('HIVESYNC_METRICS_PORT') === null) {
    if (host !== null) problems.push('HIVESYNC_METRICS_HOST is nothing without HIVESYNC_METRICS_PORT')
    return null
  }
  return { host: host ?? '127.0.0.1', port: read.integer('HIVESYNC_METRICS_PORT', 0, 65_535, 0) }
}

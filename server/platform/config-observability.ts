import { resolve } from 'node:path'
import type { Reader } from './config-reader.ts'
import type { LogFileOptions } from './log-file.ts'
import { type LogLevel, logLevels } from './logger.ts'

export interface ObservabilitySettings {
  readonly logLevel: LogLevel
  /** Null for standard error. */
  readonly logFile: LogFileOptions | null
  /** Where `/metrics` is served without credentials; null for nowhere. */
  readonly metricsListener: { readonly host: string; readonly port: number } | null
}

/** Settings of what shows how the server is; `config.ts` counts these names among the known ones. */
export const observabilityNames = [
  'HIVESYNC_METRICS_PORT',
  'HIVESYNC_METRICS_HOST',
  'HIVESYNC_LOG_LEVEL',
  'HIVESYNC_LOG_FILE',
  'HIVESYNC_LOG_FILE_MB',
  'HIVESYNC_LOG_FILES',
] as const

export function readObservability(read: Reader, problems: string[]): ObservabilitySettings {
  return Object.freeze({
    metricsListener: readMetricsListener(read, problems),
    logLevel: read.oneOf('HIVESYNC_LOG_LEVEL', logLevels, 'info'),
    logFile: readLogFile(read, problems),
  })
}

function readMetricsListener(read: Reader, problems: string[]): ObservabilitySettings['metricsListener'] {
  const host = read.text('HIVESYNC_METRICS_HOST')
  if (read.text('HIVESYNC_METRICS_PORT') === null) {
    if (host !== null) problems.push('HIVESYNC_METRICS_HOST is nothing without HIVESYNC_METRICS_PORT')
    return null
  }
  return { host: host ?? '127.0.0.1', port: read.integer('HIVESYNC_METRICS_PORT', 0, 65_535, 0) }
}

function readLogFile(read: Reader, problems: string[]): LogFileOptions | null {
  const path = read.text('HIVESYNC_LOG_FILE')
  // Read also without a file, so that a bad figure is told.
  const maxBytes = read.integer('HIVESYNC_LOG_FILE_MB', 1, 10_000, 100) * 1024 * 1024
  const keptFiles = read.integer('HIVESYNC_LOG_FILES', 0, 100, 5)
  if (path !== null) return { path: resolve(path), maxBytes, keptFiles }
  for (const name of ['HIVESYNC_LOG_FILE_MB', 'HIVESYNC_LOG_FILES'])
    if (read.text(name) !== null) problems.push(`${name} is nothing without HIVESYNC_LOG_FILE`)
  return null
}

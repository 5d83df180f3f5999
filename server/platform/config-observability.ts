import { resolve } from 'node:path'
import type { Reader } from './config-reader.ts'
import { isLoopback } from './config-rules.ts'
import type { LogFileOptions } from './log-file.ts'
import { type LogLevel, logLevels } from './logger.ts'
import type { TracingSettings } from './tracing.ts'

export interface ObservabilitySettings {
  readonly logLevel: LogLevel
  /** Null for standard error. */
  readonly logFile: LogFileOptions | null
  /** Where traces are sent; null for nowhere. */
  readonly tracing: TracingSettings | null
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
  'HIVESYNC_OTLP_URL',
  'HIVESYNC_TRACE_RATIO',
] as const
export const observabilitySecretNames = ['HIVESYNC_OTLP_HEADERS'] as const

export function readObservability(read: Reader, problems: string[]): ObservabilitySettings {
  return Object.freeze({
    metricsListener: readMetricsListener(read, problems),
    logLevel: read.oneOf('HIVESYNC_LOG_LEVEL', logLevels, 'info'),
    logFile: readLogFile(read),
    tracing: readTracing(read, problems),
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

function readLogFile(read: Reader): LogFileOptions | null {
  const path = read.text('HIVESYNC_LOG_FILE')
  // Read also without a file, so that a bad figure is told.
  const maxBytes = read.integer('HIVESYNC_LOG_FILE_MB', 1, 10_000, 100) * 1024 * 1024
  const keptFiles = read.integer('HIVESYNC_LOG_FILES', 0, 100, 5)
  return path === null ? null : { path: resolve(path), maxBytes, keptFiles }
}

function readTracing(read: Reader, problems: string[]): TracingSettings | null {
  const text = read.text('HIVESYNC_OTLP_URL')
  const headerText = read.secret('HIVESYNC_OTLP_HEADERS')
  const ratio = readRatio(read.text('HIVESYNC_TRACE_RATIO') ?? '1', problems)
  const headers = Object.fromEntries((headerText ?? '').split(',').flatMap((pair) => readHeader(pair, problems)))
  if (text === null) return null
  const url = URL.parse(text)
  const isPlain = url?.protocol === 'http:'
  if (url === null || !(isPlain || url.protocol === 'https:') || url.username + url.password + url.hash !== '') {
    problems.push(
      'HIVESYNC_OTLP_URL must be an http(s) address without a password, such as http://127.0.0.1:4318/v1/traces',
    )
    return null
  }
  if (isPlain && headerText !== null && !isLoopback(url.hostname))
    problems.push('HIVESYNC_OTLP_URL must be https:// where HIVESYNC_OTLP_HEADERS is set: others could read them')
  return { url: url.href, headers, ratio }
}

/** `name=value`, as OpenTelemetry's own variable has them; never shown. */
function readHeader(pair: string, problems: string[]): [name: string, value: string][] {
  if (pair.trim() === '') return []
  const [, name, value] = /^\s*([A-Za-z0-9-]{1,100})=([\x20-\x7e]{1,4000})$/.exec(pair) ?? []
  if (name !== undefined && value !== undefined) return [[name.toLowerCase(), value.trim()]]
  problems.push('HIVESYNC_OTLP_HEADERS must be name=value, several with commas between')
  return []
}

function readRatio(text: string, problems: string[]): number {
  const ratio = /^(?:0|1|0?\.\d{1,6}|1\.0)$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isNaN(ratio)) return ratio
  problems.push('HIVESYNC_TRACE_RATIO must be a number from 0 to 1, such as 0.1')
  return 0
}

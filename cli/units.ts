import { usageError } from './failure.ts'

/** `1.5 MB`: powers of 1000. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `12,345`, the same everywhere: output is read by programs, too. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** `0.4 s`, `12 s`, `3 min 04 s`, `2 h 05 min`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`
}

/** How long ago a wire time was, or how far ahead it lies. */
export function formatAge(time: string, nowMs: number): string {
  const ms = nowMs - Date.parse(time)
  return ms < 0 ? `in ${formatDuration(-ms)}` : `${formatDuration(ms)} ago`
}

/** `30`, `30s`, `5m`, `2h`, `1d` in seconds. */
export function parseSeconds(text: string, option: string): number {
  const match = /^(\d{1,7})([smhd]?)$/.exec(text)
  const factor = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }[match?.[2] ?? '']
  if (match === null || factor === undefined) throw usageError(`${option} takes a time such as 30s, 5m or 2h`)
  return Number(match[1]) * factor
}

/** `512`, `512m`, `1g` in MiB. */
export function parseMebibytes(text: string, option: string): number {
  const match = /^(\d{1,7})([mg]?)$/i.exec(text)
  if (match === null) throw usageError(`${option} takes a size such as 512m or 1g`)
  return Number(match[1]) * (match[2]?.toLowerCase() === 'g' ? 1024 : 1)
}

export function parseCount(text: string, option: string, range: { min: number; max: number }): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (value >= range.min && value <= range.max) return value
  throw usageError(`${option} takes a number from ${range.min} to ${range.max}`)
}

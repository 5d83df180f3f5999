import { Cron } from 'croner'
import { AppError } from '../platform/errors.ts'

/** When a schedule runs: five fields, read in a time zone. */
export interface Timing {
  cron: string
  timeZone: string
}

/** Refuses what is no cron expression of five fields, names a time zone that does not exist, or never comes. */
export function requireTiming(timing: Timing, after: number): void {
  if (!isTimeZone(timing.timeZone))
    throw refused('timeZone', 'is no time zone of the IANA database, such as Europe/Berlin')
  const fields = timing.cron.trim().split(/\s+/)
  if (fields.length !== 5)
    throw refused('cron', `has ${fields.length} fields, not five: minute, hour, day of month, month, day of week`)
  // To croner `?` is the moment at which it reads it.
  if (timing.cron.includes('?')) throw refused('cron', 'holds a `?`: write `*`')
  if (nextRunAfter(timing, after) === null) throw refused('cron', 'names a date that never comes')
}

/** The first run after a moment, to the millisecond; null when there is none. */
export function nextRunAfter(timing: Timing, after: number): number | null {
  return open(timing).nextRun(new Date(after))?.getTime() ?? null
}

/** The first runs from a moment on. */
export function nextRuns(timing: Timing, from: number, count: number): number[] {
  return open(timing)
    .nextRuns(count, new Date(from - 1))
    .map((date) => date.getTime())
}

/**
 * `no-wildcard`, as Vixie cron has it: times that are named run once on the day on which the clock is put forward past them (right after the gap) or back
 * over them; with `*` or a step in minute or hour it is the intervals that count, so those of the gap are left out and those of the doubled hour run twice.
 */
function open({ cron, timeZone }: Timing): Cron {
  try {
    return new Cron(cron.trim(), { timezone: timeZone, mode: '5-part', fixedTimeRule: 'no-wildcard', paused: true })
  } catch (error) {
    // What croner refuses it says by these; they hold the expression, which is the client's own.
    if (error instanceof TypeError || error instanceof RangeError)
      throw refused('cron', error.message.replace(/^CronPattern: /, ''))
    throw error
  }
}

// Intl takes offsets too (`+05:30`), which know no daylight saving time.
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

function refused(name: 'cron' | 'timeZone', message: string): AppError {
  return new AppError('invalid_request', {}, { fields: [{ path: `body/${name}`, message }] })
}

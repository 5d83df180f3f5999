import type { Reader } from './config-reader.ts'

/** For how many days things are kept; null for ever. */
export interface RetentionSettings {
  /** Jobs that have ended, with their events and attempts. */
  readonly jobDays: number | null
  /** The output of jobs. */
  readonly logDays: number | null
}

export const retentionNames = ['HIVESYNC_JOB_RETENTION_DAYS', 'HIVESYNC_LOG_RETENTION_DAYS'] as const

/** 0 keeps for ever. */
export function readRetention(read: Reader): RetentionSettings {
  const days = (name: (typeof retentionNames)[number], usual: number): number | null =>
    read.integer(name, 0, 36_500, usual) || null
  return Object.freeze({
    jobDays: days('HIVESYNC_JOB_RETENTION_DAYS', 90),
    logDays: days('HIVESYNC_LOG_RETENTION_DAYS', 30),
  })
}

import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClockSetting } from './clock-offset.ts'

/** How much faster than real time the processes of a run live while faults strike: a lease of 30 s takes three. */
export const clockRate = 10

/** The clock of one process of the run. */
export interface ProcessClock {
  /** Options of the node binary and settings that put the process on this clock. */
  readonly nodeOptions: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Sets it ahead of (or behind) the others' by so many of its own milliseconds; 0 puts it right. */
  setOffset(ms: number): void
}

export interface Clocks {
  clockOf(name: string): ProcessClock
  /** Makes all run fast from now on. Before, while everything is being started, a busy machine needs its time. */
  hurry(): void
}

/** The clocks of a run, which show the same time. */
export function createClocks(folder: string): Clocks {
  let setting: ClockSetting = { realMs: 0, virtualMs: 0, rate: 1 }
  const all: { file: string; offsetMs: number }[] = []
  // Renamed into its place: half a file is no time.
  const write = ({ file, offsetMs }: { file: string; offsetMs: number }): void => {
    writeFileSync(`${file}.new`, JSON.stringify({ ...setting, virtualMs: setting.virtualMs + offsetMs }))
    renameSync(`${file}.new`, file)
  }
  return {
    clockOf(name) {
      const entry = { file: join(folder, `${name}.clock`), offsetMs: 0 }
      all.push(entry)
      write(entry)
      return {
        nodeOptions: ['--import', join(import.meta.dirname, 'clock-offset.ts')],
        env: { HIVESYNC_TEST_CLOCK: entry.file },
        setOffset(ms) {
          entry.offsetMs = ms
          write(entry)
        },
      }
    },
    hurry() {
      const now = Date.now()
      setting = { realMs: now, virtualMs: now, rate: clockRate }
      for (const entry of all) write(entry)
    },
  }
}

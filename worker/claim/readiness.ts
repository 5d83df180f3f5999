import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../logger.ts'
import { diskOf } from './capabilities.ts'

const mebibyte = 1024 * 1024
/** Unless told otherwise: enough for the log and the files of a few jobs, and never most of a small disk. */
const defaultFreeBytes = 1024 * mebibyte
const defaultFreeShare = 0.05

export interface Readiness {
  /** Why no jobs are taken right now, undefined when they are; looked at anew each time. */
  refusal(): Promise<string | undefined>
  /** Bytes of results the server does not have yet, as of the last look. */
  readonly storedBytes: number
}

/**
 * Keeps the disk from filling: jobs are refused while too little of it is free, or while the results that wait for the server
 * take as much as they may. Nothing is ever deleted for that; both end by themselves, when room is made or the server is back.
 */
export function createReadiness(options: {
  dataDir: string
  outboxMaxBytes: number
  minFreeBytes: number | null
  log: Logger
}): Readiness {
  const { dataDir, outboxMaxBytes, log } = options
  let storedBytes = 0
  let before: string | undefined

  async function look(): Promise<string | undefined> {
    storedBytes = (await sizeOf(join(dataDir, 'outbox'))) + (await sizeOf(join(dataDir, 'outputs')))
    if (storedBytes >= outboxMaxBytes)
      return `results that wait for the server take ${inMebibytes(storedBytes)}, as much as they may (HIVESYNC_WORKER_OUTBOX_MAX_MB)`
    const { freeBytes, totalBytes } = await diskOf(dataDir)
    const minFreeBytes = options.minFreeBytes ?? Math.min(defaultFreeBytes, totalBytes * defaultFreeShare)
    if (freeBytes >= minFreeBytes) return undefined
    return `only ${inMebibytes(freeBytes)} of the disk are free, less than ${inMebibytes(minFreeBytes)} (HIVESYNC_WORKER_MIN_FREE_MB)`
  }

  return {
    async refusal() {
      const now = await look()
      if (now !== undefined && before === undefined) log.error('jobs_refused', { reason: now })
      if (now === undefined && before !== undefined) log.info('jobs_taken_again')
      before = now
      return now
    },
    get storedBytes() {
      return storedBytes
    },
  }
}

const inMebibytes = (bytes: number): string => `${Math.floor(bytes / mebibyte)} MiB`

/** Bytes of the files below a folder; what is removed meanwhile, or was never there, counts nothing. */
async function sizeOf(path: string): Promise<number> {
  try {
    const entries = await readdir(path, { withFileTypes: true })
    const sizes = entries.map(async (entry) => {
      const inner = join(path, entry.name)
      if (entry.isDirectory()) return sizeOf(inner)
      return entry.isFile() ? (await stat(inner)).size : 0
    })
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0
    throw error
  }
}

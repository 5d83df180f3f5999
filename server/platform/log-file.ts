import { closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { LogDestination } from './logger.ts'

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants
/** As the lines to standard error: a write for each is 9 % of a small request. */
const flushBytes = 4096
const flushEveryMs = 200

export interface LogFileOptions {
  readonly path: string
  /** From this size on the file is renamed to `PATH.1`, that to `PATH.2`, and so on. */
  readonly maxBytes: number
  /** How many of those are kept beside the file itself. */
  readonly keptFiles: number
}

export interface LogFile extends LogDestination {
  flush(): Promise<void>
  /** Opens the path anew, for whoever has moved the file away (logrotate); where that cannot be, goes on with the file that is open. */
  reopen(): void
  close(): void
}

/**
 * A log file that only this user may read (0600) and that never outgrows its bounds. Throws when it cannot be opened; afterwards a full disk costs lines, never the
 * server: those lost are counted in the next line that can be written.
 */
export function openLogFile({ path, maxBytes, keptFiles }: LogFileOptions): LogFile {
  // Others may pass through: it may be the data folder, below which the worker's own user has its place.
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
  let { fd, bytes } = open(path)
  let held: string[] = []
  let heldChars = 0
  let lost = 0

  function rotate(): void {
    if (keptFiles > 0) {
      for (let n = keptFiles - 1; n >= 1; n--) renameIfThere(`${path}.${n}`, `${path}.${n + 1}`)
      renameIfThere(path, `${path}.1`)
    } else rmSync(path, { force: true })
    reopen()
  }

  function reopen(): void {
    const next = open(path)
    closeSync(fd)
    ;({ fd, bytes } = next)
  }

  function flush(): void {
    if (held.length === 0) return
    const text = held.join('')
    const count = held.length
    held = []
    heldChars = 0
    try {
      if (bytes >= maxBytes) rotate()
      if (lost > 0) bytes += write(fd, `{"level":"warn","event":"log_lines_lost","count":${lost}}\n`)
      bytes += write(fd, text)
      lost = 0
    } catch {
      // There is no place left to say so.
      lost += count
    }
  }

  const timer = setInterval(flush, flushEveryMs).unref()
  return {
    write(line) {
      held.push(line)
      heldChars += line.length
      if (heldChars >= flushBytes) flush()
    },
    flush: async () => flush(),
    reopen() {
      flush()
      try {
        reopen()
      } catch {
        lost++
      }
    },
    close() {
      clearInterval(timer)
      flush()
      closeSync(fd)
    },
  }
}

/** O_NOFOLLOW: a link that somebody put there would have us write into a file of theirs, or ours. */
function open(path: string): { fd: number; bytes: number } {
  const fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600)
  return { fd, bytes: fstatSync(fd).size }
}

function write(fd: number, text: string): number {
  const data = Buffer.from(text)
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at)
  return data.length
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}

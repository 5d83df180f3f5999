import type { SandboxLimits } from '../sandbox/spec.ts'
import type { RepositoryPolicy } from './repository-policy.ts'
import type { ReadLimits } from './tree-listing.ts'

/** What the worker's owner allows an ingest to reach and to cost. */
export interface IngestSettings extends RepositoryPolicy, ReadLimits {
  /** A PEM bundle trusted beside the system's, for a forge with the owner's own authority. */
  caFile?: string
  maxMirrorBytes: number
  resolveTimeoutMs: number
  fetchTimeoutMs: number
  /** For one sandbox run of the read phase: the listing, or ~8 MiB of files. */
  readTimeoutMs: number
  /** A server slower than 1,000 bytes/s for this long is given up; long, because counting a big repository is quiet. */
  stallSeconds: number
  memoryBytes: number
}

const mebibyte = 1024 * 1024

/** Linux (6 GiB of history, 90,000 files, 1.4 GB of text) fits; a tree bomb or a disk filler does not. */
export const defaultIngestSettings: IngestSettings = {
  privateHosts: [],
  localRepos: [],
  maxMirrorBytes: 10 * 1024 * mebibyte,
  resolveTimeoutMs: 60_000,
  fetchTimeoutMs: 3_600_000,
  readTimeoutMs: 300_000,
  stallSeconds: 120,
  memoryBytes: 2 * 1024 * mebibyte,
  maxEntries: 500_000,
  maxFileBytes: mebibyte,
  maxTotalBytes: 2 * 1024 * mebibyte,
  maxPathBytes: 1024,
}

/** The limits of one git command: what it may store in a file, and how long it may take, differ by command. */
export function gitLimits(
  settings: IngestSettings,
  command: { wallMs: number; fileBytes?: number; outputBytes?: number },
): SandboxLimits {
  return {
    wallMs: command.wallMs,
    cpuSeconds: Math.ceil(command.wallMs / 1000),
    memoryBytes: settings.memoryBytes,
    pids: 64,
    diskBytes: 16 * mebibyte,
    fileBytes: command.fileBytes ?? 16 * mebibyte,
    outputBytes: command.outputBytes ?? 4 * mebibyte,
    archiveBytes: 0,
    openFiles: 512,
  }
}

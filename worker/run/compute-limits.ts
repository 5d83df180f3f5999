import type { ComputeLimits } from '@hivesync/contracts/job-kinds.ts'
import type { SandboxLimits } from '../sandbox/spec.ts'

const mebibyte = 1024 * 1024
/** Tasks of the script around the command: the shell, and the tar it starts. */
const scriptTasks = 2
/** Headers and padding of the archive of a disk full of small files. */
const archiveOverhead = 8 * mebibyte

/** The sandbox's limits for what the job asks for, or by default 5 minutes, 512 MiB of memory, 256 MiB of disk, 64 tasks, 4 MiB of output. */
export function computeLimits(asked: ComputeLimits = {}): SandboxLimits {
  const diskBytes = (asked.diskMiB ?? 256) * mebibyte
  return {
    wallMs: (asked.wallSeconds ?? 300) * 1000,
    cpuSeconds: asked.cpuSeconds ?? 300,
    memoryBytes: (asked.memoryMiB ?? 512) * mebibyte,
    pids: (asked.processes ?? 64) + scriptTasks,
    diskBytes,
    fileBytes: diskBytes,
    outputBytes: (asked.outputKiB ?? 4096) * 1024,
    archiveBytes: diskBytes + archiveOverhead,
    openFiles: 1024,
  }
}

/**
 * The limits of an install for a job of these limits: the same disk for what is installed and once more for npm's cache, held in memory like all of a
 * sandbox's disk; small files cost a quarter more in the archive that is carried over.
 */
export function installLimits(job: SandboxLimits, maxSeconds: number): SandboxLimits {
  const { diskBytes } = job
  return {
    wallMs: maxSeconds * 1000,
    cpuSeconds: maxSeconds,
    memoryBytes: Math.max(job.memoryBytes, 512 * mebibyte) + 2 * diskBytes,
    pids: 64 + scriptTasks,
    diskBytes: 2 * diskBytes,
    fileBytes: diskBytes,
    outputBytes: mebibyte,
    archiveBytes: diskBytes + Math.ceil(diskBytes / 4) + archiveOverhead,
    openFiles: 4096,
  }
}

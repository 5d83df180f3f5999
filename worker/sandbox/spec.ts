// What a job of the sandbox is, and what comes of it.

export interface SandboxLimits {
  wallMs: number
  /** CPU time of all processes of the job together. */
  cpuSeconds: number
  /** With a memory cgroup everything the job holds, tmpfs included; else what the watchdog can see. */
  memoryBytes: number
  /** Tasks: a thread counts as one. */
  pids: number
  /** Size of the /job tmpfs; a writable mount is not bounded by it. */
  diskBytes: number
  /** RLIMIT_FSIZE: the size of any one file. */
  fileBytes: number
  /** stdout and stderr together; more ends the job ('output'). */
  outputBytes: number
  /** The stream on descriptor 3; more ends the job ('archive'). 0 leaves descriptor 3 closed. */
  archiveBytes: number
  openFiles: number
}

export interface SandboxMount {
  /** Host path. As root, every folder above must be passable and, unless it is lent, the content readable for others. */
  from: string
  to: string
  writable?: boolean
  /** As root, give it to the slot's user for the run, see `lend`; else it is not passable or readable for that user. */
  lent?: boolean
}

export interface SandboxSpec {
  command: readonly string[]
  /** On top of PATH, HOME=/job, LANG; readable by every process of the job, never by another's. */
  env?: Readonly<Record<string, string>>
  /** Default /job. */
  cwd?: string
  mounts?: readonly SandboxMount[]
  /**
   * Else /dev/null. An iterable (a file's read stream, say) is read as fast as the job takes it, so nothing large need be
   * in memory; its error fails the run, and it is returned to (a stream is destroyed) when the job ends before it does.
   */
  stdin?: Uint8Array | AsyncIterable<Uint8Array>
  /**
   * Each a file of its name below /run/secrets, readable (0400) by the job's user alone, for this run alone: it goes from
   * memory through a pipe into the sandbox's own tmpfs, never to a disk, an environment or a command line.
   */
  secrets?: Readonly<Record<string, Uint8Array>>
  /** Lets the job use the GPUs the sandbox was opened with, for no longer than they may be held; rejects with GpuUnavailable when there are none. */
  gpu?: boolean
  limits: SandboxLimits
  /**
   * A unix socket of the worker's filtering proxy, the only way out; inside, 127.0.0.1:8118 forwards to it. Absent: no
   * way out. It must lie in a closed folder of the worker's own; as root it is lent like a mount.
   */
  egressSocket?: string
  onOutput?: (stream: 'stdout' | 'stderr', chunk: Buffer) => void
  /** Descriptor 3 of the job, as it comes. */
  onArchive?: (chunk: Buffer) => void
  /** Abort ends the job ('canceled'). */
  signal?: AbortSignal
}

export type KillReason = 'wall' | 'cpu' | 'memory' | 'pids' | 'output' | 'archive' | 'canceled'

export interface SandboxReceipt {
  layers: string[]
  /** The limits as they were set: wallMs of a job with a GPU is at most what the worker allows. */
  limits: SandboxLimits
  wallMs: number
  /** null where neither a cgroup nor a sample saw it. */
  cpuMs: number | null
  peakMemoryBytes: number | null
  /** Tasks at once at most, the sandbox's own (two; with egress up to eighteen) among them. */
  peakPids: number | null
  outputBytes: number
  archiveBytes: number
  killed: KillReason | null
}

export interface SandboxResult {
  /** The command's own; 128 + n when it died of signal n by itself; null when the sandbox ended it. */
  exitCode: number | null
  signal: string | null
  receipt: SandboxReceipt
}

/** What this machine offers, probed once. */
export interface Sandbox extends AsyncDisposable {
  /**
   * Runs one job; when it resolves no process of the job is alive, daemons included. Rejects only when the sandbox itself
   * failed (a mount that cannot be reached, a limit that did not take), never for what the job did. More runs at once
   * than `slots` is a programming error and rejects.
   */
  run(spec: SandboxSpec): Promise<SandboxResult>
  readonly layers: readonly string[]
  /** The node binary the product's own parts run with inside. */
  readonly node: string
  /** Ends running jobs as canceled, waits for them and removes what the sandbox made on this machine. */
  close(): Promise<void>
}

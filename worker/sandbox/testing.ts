import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import type { Sandbox, SandboxLimits, SandboxResult, SandboxSpec } from './spec.ts'

const MIB = 1024 * 1024

/** Limits a test changes one of. */
export const LIMITS: SandboxLimits = {
  wallMs: 60_000,
  cpuSeconds: 30,
  memoryBytes: 256 * MIB,
  pids: 64,
  diskBytes: 32 * MIB,
  fileBytes: 128 * MIB,
  outputBytes: MIB,
  archiveBytes: 0,
  openFiles: 256,
}

/** Runs a command and keeps what it printed. */
export async function runJob(
  sandbox: Sandbox,
  command: readonly string[],
  more: Partial<Omit<SandboxSpec, 'limits'>> & { limits?: Partial<SandboxLimits> } = {},
): Promise<SandboxResult & { output: string }> {
  let output = ''
  const result = await sandbox.run({
    onOutput: (_, chunk) => {
      output += chunk.toString('utf8')
    },
    ...more,
    command,
    limits: { ...LIMITS, ...more.limits },
  })
  return { ...result, output }
}

export const shell = (script: string): string[] => ['/bin/sh', '-c', script]

/** Host pids whose command line holds `mark`, this process not among them. */
export function findProcesses(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(mark)
    } catch {
      return false // it ended while the list was read
    }
  })
}

/** Whether the system's own python3 (the one a sandbox has under /usr) is here. */
export function hasPython(): boolean {
  try {
    execFileSync('/usr/bin/python3', ['-c', 'import ctypes'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

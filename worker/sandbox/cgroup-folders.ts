import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs'
import { readFile, rmdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

// What a folder below a cgroup file system is, whichever version: made, emptied and removed by mkdir, kill and rmdir.

/** An exiting task may hold its group for a moment: rmdir answers EBUSY (57 of 408 jobs, measured), so it is retried. */
const REMOVE_ATTEMPTS = 20
const REMOVE_PAUSE_MS = 25

export async function removeWithRetries(folder: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rmdir(folder)
      return
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return
      if (codeOf(error) !== 'EBUSY' || attempt === REMOVE_ATTEMPTS) {
        const holders = await readFile(join(folder, 'cgroup.procs'), 'latin1').catch(() => '')
        throw new Error(`cgroup ${folder} cannot be removed; its processes: ${holders.trim() || 'none'}`, {
          cause: error,
        })
      }
      await wait(REMOVE_PAUSE_MS)
    }
  }
}

/**
 * Removes what a worker that was killed left behind. Its jobs died with it; should one have found a way not to, whatever
 * a group of a dead worker still holds is killed.
 */
export function sweep(parent: string): void {
  for (const child of listFolders(parent)) {
    const [, owner, namespace] = /^hivesync-(\d+)-\w{6}-(\d+)$/.exec(child) ?? []
    if (owner === undefined || namespace !== pidNamespace() || existsSync(`/proc/${owner}`)) continue
    const folder = join(parent, child)
    for (const group of listFolders(folder)) killHeld(join(folder, group))
    removeTree(folder)
  }
}

/** Containers may share the control groups and yet not each other's processes: elsewhere a pid tells nothing of its worker. */
export function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
}

/** SIGKILL to whatever a group holds: at once where the kernel can (v2, Linux 5.14), else process by process. */
export function killHeld(group: string): void {
  const killFile = join(group, 'cgroup.kill')
  if (existsSync(killFile)) return writeFileSync(killFile, '1')
  // 0 stands for a process of another pid namespace, and would mean this very process group.
  for (const pid of readPids(group).filter((held) => held > 1)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (!['ESRCH', 'EPERM'].includes(codeOf(error))) throw error
    }
  }
}

export function readPids(group: string): number[] {
  return readFileSync(join(group, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean).map(Number)
}

export function removeTree(folder: string): void {
  for (const path of [...listFolders(folder).map((child) => join(folder, child)), folder]) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (!['EBUSY', 'ENOENT', 'EACCES', 'EPERM'].includes(codeOf(error))) throw error
    }
  }
}

export function listFolders(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => basename(entry.name))
}

/** Writes a limit and reads it back; the kernel rounds memory down to whole pages and everything else not at all. */
export function setLimit(group: string, file: string, value: number | string): void {
  writeFileSync(join(group, file), String(value))
  const held = readFileSync(join(group, file), 'latin1').trim()
  if (held === String(value)) return
  const rounded = file.startsWith('memory') && Number(held) <= Number(value) && Number(value) - Number(held) < 65_536
  if (!rounded) throw new Error(`cgroup: ${file} took ${held} instead of ${value}`)
}

/** The number a file of the kernel begins with; null where this kernel has no such file. */
export function readNumber(group: string, file: string): number | null {
  const path = join(group, file)
  return existsSync(path) ? Number.parseInt(readFileSync(path, 'latin1'), 10) : null
}

/** The value of a key in a file of `key value` lines. */
export function readKey(group: string, file: string, key: string): number | null {
  const path = join(group, file)
  if (!existsSync(path)) return null
  const value = new RegExp(`^${key} (\\d+)$`, 'm').exec(readFileSync(path, 'latin1'))?.[1]
  return value === undefined ? null : Number(value)
}

export const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')

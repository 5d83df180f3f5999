import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, statfsSync } from 'node:fs'

/** Where a run keeps its data. */
export interface Disk {
  readonly folder: string
  /** Leaves no space, where this disk has a size of its own. */
  fill?(): void
  /** Gives it back. */
  free(): void
  /** Takes it away, with all that is on it. */
  remove(): void
}

/** Set for the process that lives in a mount namespace of its own, where it may mount what nobody else sees and what is gone when it ends. */
export const namespaceMark = 'HIVESYNC_TEST_CHAOS_NAMESPACE'
const sizeMiB = 4096
const spareKiB = 32

/** Whether this process can have such a namespace: root can, where the machine allows it. */
export function mayMount(): boolean {
  return process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status === 0
}

/** A disk in memory that can be made full, in this process's mount namespace; elsewhere just the folder. */
export function openDisk(folder: string): Disk {
  mkdirSync(folder, { mode: 0o711 })
  if (process.env[namespaceMark] !== '1') return { folder, free() {}, remove() {} }
  const mount = (options: string): void => void execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'chaos', folder])
  mount(`size=${sizeMiB}m,mode=0711`)
  return {
    folder,
    fill() {
      // Whoever writes between the look and the mount makes the size too small, which the kernel refuses: then with more room.
      for (let room = spareKiB; ; room *= 2) {
        const { blocks, bfree, bsize } = statfsSync(folder)
        const usedKiB = Math.ceil(((blocks - bfree) * bsize) / 1024)
        try {
          return mount(`remount,size=${usedKiB + room}k,mode=0711`)
        } catch (error) {
          if (room > 64 * 1024) throw error
        }
      }
    },
    free: () => mount(`remount,size=${sizeMiB}m,mode=0711`),
    remove: () => void execFileSync('umount', [folder]),
  }
}

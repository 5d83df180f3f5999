import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { SandboxMount } from '../sandbox/spec.ts'

/** Where a machine keeps its programs; all of it is there inside, too. */
export const systemFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
const insideFolder = '/opt/hivesync/bin'

/** How jobs get to a `node`; `path` is their whole PATH. */
export interface NodeMount {
  mounts: SandboxMount[]
  path: string
}

/**
 * The worker's own node for jobs on a machine whose system has none. undefined when the system has one, and when others may
 * not reach the worker's (root's sandboxes run as other users): then jobs simply have no `node`.
 */
export function findNodeMount(node: string, folders: readonly string[] = systemFolders): NodeMount | undefined {
  if (folders.some((folder) => isExecutable(`${folder}/node`))) return undefined
  if (process.getuid?.() === 0 && !isReachableByOthers(node)) return undefined
  return {
    mounts: [{ from: node, to: `${insideFolder}/node` }],
    path: [...systemFolders, insideFolder].join(':'),
  }
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // the answer to the question asked
  }
}

export function isReachableByOthers(path: string): boolean {
  if ((statSync(path).mode & 0o005) !== 0o005) return false
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false
  }
  return true
}

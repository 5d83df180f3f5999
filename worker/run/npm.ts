import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findNodeMount, isExecutable, isReachableByOthers, type NodeMount, systemFolders } from './node-mount.ts'

const insideNpm = '/opt/hivesync/npm'

/** How a sandbox gets to an `npm`. */
export interface Npm extends Partial<NodeMount> {
  /** What to run it by; its arguments follow. */
  command: readonly string[]
}

/**
 * The machine's own npm, or the one that came with the worker's node. undefined where there is none that sandboxes can reach: such a worker installs
 * nothing, and says so.
 */
export function findNpm(node: string, folders: readonly string[] = systemFolders): Npm | undefined {
  const nodeMount = findNodeMount(node, folders)
  // What lies below /usr is there inside, too.
  const own = folders.map((folder) => join(folder, 'npm')).find(isExecutable)
  if (own !== undefined && realpathSync(own).startsWith('/usr/') && nodeMount === undefined) return { command: [own] }
  const beside = join(dirname(dirname(realpathSync(node))), 'lib', 'node_modules', 'npm')
  const isThere = isExecutable(join(beside, 'bin', 'npm-cli.js')) || isExecutable(join(beside, 'bin', 'npm'))
  if (nodeMount === undefined || !isThere) return undefined
  if (process.getuid?.() === 0 && !isReachableByOthers(beside)) return undefined
  return {
    mounts: [...nodeMount.mounts, { from: beside, to: insideNpm }],
    path: nodeMount.path,
    command: ['node', `${insideNpm}/bin/npm-cli.js`],
  }
}

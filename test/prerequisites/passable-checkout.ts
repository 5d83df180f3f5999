import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Where the checkout is seen, in the mount namespace of the command only: a folder for this in every file system hierarchy, so that none is left behind. */
const view = '/mnt'

/**
 * The command, to be run in the checkout, in such a way that other users can pass to the checkout: root's jobs run as users of their own, and
 * a folder such as /root is closed to them. There the command sees the checkout under another path, in a mount namespace that ends with it.
 */
export function throughPassableFolder(checkout: string, command: readonly string[]): readonly string[] {
  if (process.getuid?.() !== 0 || isPassable(checkout) || !mayMount()) return command
  const inView = command.map((part) =>
    part.startsWith(`${checkout}/`) ? `${view}${part.slice(checkout.length)}` : part,
  )
  const script = 'mount --bind "$2" "$1" && cd "$1" && shift 2 && exec "$@"'
  return [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--',
    '/bin/sh',
    '-c',
    script,
    'sh',
    view,
    checkout,
    ...inView,
  ]
}

function isPassable(folder: string): boolean {
  if ((statSync(folder).mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || isPassable(parent)
}

function mayMount(): boolean {
  return spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status === 0
}

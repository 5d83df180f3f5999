import { spawnSync } from 'node:child_process'
import {
  chownSync,
  closeSync,
  existsSync,
  fchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

/**
 * The user that the worker and its jobs run as when we are root: it owns nothing else on the machine. Far from people (< 60000), systemd's
 * dynamic users (61184 on) and the slot users of a worker that runs as root (61001 on).
 */
const workerUid = 61_000
const controllers = ['memory', 'pids', 'cpu'] as const

export interface WorkerUser {
  uid: number
  /** Control groups this user may make jobs' groups in. */
  cgroups: Readonly<Record<string, string>>
  /** Removes the control groups. */
  release(): void
}

/** A user of its own for the worker; undefined when we are not root, or may not make it the view of the disk that it needs (as in a container without CAP_SYS_ADMIN). */
export function takeWorkerUser(): WorkerUser | undefined {
  if (process.getuid?.() !== 0 || spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status !== 0)
    return undefined
  const made: string[] = []
  const cgroups: Record<string, string> = {}
  for (const controller of controllers) {
    const folder = delegate(controller)
    if (folder === undefined) continue
    cgroups[controller] = folder
    made.push(folder)
  }
  mkdirSync(view, { recursive: true, mode: 0o755 })
  return {
    uid: workerUid,
    cgroups,
    release() {
      for (const folder of made) removeFolder(folder)
    },
  }
}

/** Where the worker finds its code and its data; in its own mount namespace only. */
const view = '/run/hivesync-worker'
export const viewOfData = `${view}/data`
/** What of the checkout the worker runs; nothing else of it is in its view. */
const parts = ['start', 'worker', 'contracts', 'protocol', 'sdk', 'node_modules', 'package.json']

/**
 * The command that runs a script of `start/` as the worker's user. It sees its code read-only and its data through mounts of its own, so the checkout may
 * lie where that user cannot go, as below /root, and nothing of it needs to be opened to others. The mounts end with the process.
 */
export function commandAsWorker(
  user: WorkerUser,
  checkout: string,
  dataDir: string,
  node: string,
  script: string,
): [string, ...string[]] {
  const lines = [
    'set -e',
    `mount -t tmpfs -o mode=0755,size=1m,nosuid,nodev hivesync ${view}`,
    `mkdir ${view}/app ${viewOfData}`,
    `mount --bind "$2" ${viewOfData}`,
    `for part in ${parts.join(' ')}; do`,
    `  if [ -d "$1/$part" ]; then mkdir ${view}/app/$part; else : > ${view}/app/$part; fi`,
    `  mount --bind "$1/$part" ${view}/app/$part`,
    `  mount -o remount,bind,ro,nosuid,nodev ${view}/app/$part`,
    'done',
    `cd ${viewOfData}`,
    `exec setpriv --reuid=${user.uid} --regid=${user.uid} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "$3" ${view}/app/start/${script}`,
  ]
  // The node of node_modules is found through the view, a node of the system where it is.
  const seenNode = node.startsWith(`${checkout}/`) ? `${view}/app/${node.slice(checkout.length + 1)}` : node
  return [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--',
    '/bin/sh',
    '-c',
    lines.join('\n'),
    'sh',
    checkout,
    dataDir,
    seenNode,
  ]
}

/** A cgroup v1 folder that the worker's user may divide among its jobs; undefined where the machine has none (then the worker watches its jobs itself). */
function delegate(controller: string): string | undefined {
  const root = join('/sys/fs/cgroup', controller)
  if (!existsSync(join(root, 'cgroup.procs')) || existsSync(join(root, 'cgroup.controllers'))) return undefined
  const owner = pidNamespace()
  removeAbandoned(root, owner)
  const folder = join(root, `hivesync-worker-${owner}-${process.pid}`)
  try {
    mkdirSync(folder)
    for (const name of ['.', 'cgroup.procs', 'tasks']) chownSync(join(folder, name), workerUid, workerUid)
    return folder
  } catch {
    // Read-only hierarchies are usual in containers; the worker names the layers it really has.
    removeFolder(folder)
    return undefined
  }
}

/** Containers may share a control group tree and count their processes from 1 each: a process id names its owner only together with its namespace. */
function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
}

/** Removes the control groups that starts before this one left when they were killed. */
function removeAbandoned(root: string, owner: string): void {
  for (const name of readdirSync(root)) {
    const [, namespace, pid] = /^hivesync-worker-(\d+)-(\d+)$/.exec(name) ?? []
    if (namespace === owner && !existsSync(join('/proc', String(pid)))) removeFolder(join(root, name))
  }
}

function removeFolder(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) rmdirSync(join(folder, entry.name))
    rmdirSync(folder)
  } catch {
    // A process that is still ending holds it; it is empty and costs nothing until the next boot.
  }
}

/** Makes a folder that only the given user can enter. */
export function makePrivateFolder(path: string, uid: number | undefined): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (uid !== undefined) chownSync(path, uid, uid)
}

/** Writes a secret for the given user's eyes only, in a new file: in its own folder that user could have left a link of this name, for root to write and give away what it leads to. */
export function writeSecretFile(path: string, secret: string, uid: number | undefined): void {
  rmSync(path, { force: true })
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, `${secret}\n`)
    if (uid !== undefined) fchownSync(file, uid, uid)
  } finally {
    closeSync(file)
  }
}

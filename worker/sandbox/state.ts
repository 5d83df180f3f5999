import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type Cgroups, closeCgroups } from './cgroups.ts'
import { isOwned, makePipes, own } from './pipes.ts'
import type { Tools } from './prerequisites.ts'
import { seccompProgram } from './seccomp.ts'

/** The files one open sandbox needs on the host, in a folder of a random name. */
export interface SandboxState {
  /** `hivesync-<pid>-<random>`: the name its control groups carry too. */
  readonly name: string
  readonly folder: string
  /** Named pipes of the slots; closed to everyone but the worker. */
  readonly pipes: string
  /** The filter of all jobs; until `trustMemory` one that fits a machine where nothing counts memory. */
  readonly seccomp: string
  /** What jobs see as passwd, group, hosts, nsswitch.conf. */
  readonly etc: string
  readonly forwarder: string
  /** Control groups count the memory of jobs: what only they can count is no longer refused. Before the first job. */
  trustMemory(): void
  /** Removes the control groups and the folder; rejects when a group is still held. */
  remove(cgroups: Cgroups): Promise<void>
}

const ETC = {
  passwd: 'root:x:0:0:root:/:/bin/false\njob:x:1000:1000:job:/job:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  group: 'root:x:0:\njob:x:1000:\nnogroup:x:65534:\n',
  hosts: '127.0.0.1 localhost job\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
}

/** Writes the state folder below the system's temporary folder, and removes those of workers that were killed. */
export function makeState(options: { tools: Tools; slots: number; arch: string }): SandboxState {
  sweep()
  const folder = mkdtempSync(join(tmpdir(), `hivesync-${process.pid}-`))
  const pipes = join(folder, 'pipes')
  const etc = join(folder, 'etc')
  const seccomp = join(folder, 'pipes', 'seccomp.bpf')
  const forwarder = join(folder, 'etc', 'forwarder.mjs')
  // The slots' users pass through to `etc`, and only there.
  chmodSync(folder, 0o711)
  mkdirSync(pipes, { mode: 0o700 })
  mkdirSync(etc)
  chmodSync(etc, 0o755)
  makePipes(options.tools.mkfifo, pipes, options.slots)
  const alive = own(pipes)
  const writeFilter = (isMemoryCounted: boolean): void =>
    writeFileSync(seccomp, seccompProgram(options.arch, isMemoryCounted), { mode: 0o600 })
  writeFilter(false)
  for (const [name, text] of Object.entries(ETC)) writeReadable(join(etc, name), text)
  // A copy, since the slots' users may have no way into the folder the product lies in.
  copyFileSync(join(import.meta.dirname, 'forwarder.mjs'), forwarder)
  chmodSync(forwarder, 0o444)
  return {
    name: basename(folder),
    folder,
    pipes,
    seccomp,
    etc,
    forwarder,
    trustMemory: () => writeFilter(true),
    async remove(cgroups) {
      await closeCgroups(cgroups)
      closeSync(alive)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function writeReadable(path: string, text: string): void {
  writeFileSync(path, text)
  chmodSync(path, 0o444) // whatever umask the worker has
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^hivesync-(\d+)-\w{6}$/.exec(name)?.[1]
    const folder = join(tmpdir(), name)
    // The pid covers a worker that is just starting; the pipe one whose pid means nothing here.
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue
    const stat = lstatSync(folder, { throwIfNoEntry: false }) // a link in /tmp may be anybody's and lead anywhere
    if (stat?.isDirectory() !== true || stat.uid !== process.getuid?.() || isOwned(join(folder, 'pipes'))) continue
    rmSync(folder, { recursive: true, force: true })
  }
}

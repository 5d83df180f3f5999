import { lstatSync, readlinkSync } from 'node:fs'
import { posix } from 'node:path'
import { type Gpu, gpuOptions } from './gpu.ts'
import type { SandboxMount, SandboxSpec } from './spec.ts'

/** Who the job is inside; outside it is the slot's own user, or the worker's. */
export const INSIDE_UID = 1000
/** Where the parts of the product that run inside are mounted. */
export const INSIDE = {
  node: '/run/hivesync/node',
  forwarder: '/run/hivesync/forwarder.mjs',
  egress: '/run/hivesync/egress.sock',
}

const TMP_BYTES = 64 * 1024 * 1024
const SHARED_MEMORY_BYTES = 16 * 1024 * 1024
/** Each takes a descriptor of the launcher. */
const MAX_SECRETS = 32
const MAX_SECRET_BYTES = 64 * 1024
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Host files under /etc that programs cannot do without and that tell nothing about the machine's people. */
const ETC_FROM_HOST = [
  '/etc/ld.so.cache',
  '/etc/alternatives',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/pki/ca-trust/extracted',
]
/** Facts about the host's kernel that help an exploit and no build; masked where the kernel has them. */
const MASKED = [
  '/proc/cmdline',
  '/proc/config.gz',
  '/proc/kallsyms',
  '/proc/keys',
  '/proc/timer_list',
  '/proc/sysrq-trigger',
]
/**
 * The memory of bubblewrap's process 1, which runs as the job's user. Without these covers a job writes it, lifts
 * its death with the worker and outlives it (tried), past RLIMIT_NPROC too; ptrace and process_vm_writev fall to seccomp.
 */
const INIT_MEMORY = ['/proc/1/mem', '/proc/1/task/1/mem']

/** Nothing may be mounted over these: the rules above hold there. */
const OWN_PLACES = [
  '/proc',
  '/dev',
  '/sys',
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc',
  '/run/hivesync',
  '/run/secrets',
]
/** The sized tmpfs themselves; mounting below them is fine. */
const OWN_ROOTS = ['/', '/job', '/tmp', '/run']

/** The tmpfs of a job and their sizes in bytes; nothing else inside can be written. */
export function writablePlaces(diskBytes: number): { path: string; bytes: number }[] {
  return [
    { path: '/dev/shm', bytes: SHARED_MEMORY_BYTES },
    { path: '/tmp', bytes: TMP_BYTES },
    { path: '/job', bytes: diskBytes },
  ]
}

/** Refuses what could smuggle an option or mount over the sandbox's own parts; throws RangeError, a mistake of the caller. */
export function requireSafeSpec(spec: SandboxSpec): void {
  const refuse = (what: string): never => {
    throw new RangeError(`sandbox: ${what}`)
  }
  requireSafeSecrets(spec.secrets ?? {})
  const strings = [...spec.command, spec.cwd ?? '', ...Object.entries(spec.env ?? {}).flat()]
  // The vector is NUL-separated: a NUL inside a value would begin an option of the job's choosing.
  if (strings.some((text) => text.includes('\0'))) refuse('a NUL byte in the command, cwd or environment')
  if (spec.command.length === 0) refuse('no command')
  for (const name of Object.keys(spec.env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) refuse(`environment name ${JSON.stringify(name)}`)
  }
  if (spec.cwd !== undefined && !isPlainPath(spec.cwd)) refuse(`cwd ${JSON.stringify(spec.cwd)}`)
  for (const mount of spec.mounts ?? []) {
    if (!isPlainPath(mount.from) || !isPlainPath(mount.to)) refuse(`mount ${JSON.stringify(mount)}`)
    if (OWN_ROOTS.includes(mount.to) || OWN_PLACES.some((own) => mount.to === own || mount.to.startsWith(`${own}/`))) {
      refuse(`mount over ${mount.to}`)
    }
  }
  for (const [name, value] of Object.entries(spec.limits)) {
    const least = name === 'archiveBytes' ? 0 : 1
    if (!Number.isSafeInteger(value) || value < least) refuse(`limit ${name} is ${value}`)
  }
}

function requireSafeSecrets(secrets: Readonly<Record<string, Uint8Array>>): void {
  const entries = Object.entries(secrets)
  if (entries.length > MAX_SECRETS) throw new RangeError(`sandbox: more than ${MAX_SECRETS} secrets`)
  for (const [name, { byteLength }] of entries) {
    // Neither message holds what a secret says, and a name that is no file name may be one by mistake.
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) throw new RangeError('sandbox: the name of a secret')
    if (byteLength > MAX_SECRET_BYTES)
      throw new RangeError(`sandbox: the secret ${name} is over ${MAX_SECRET_BYTES} bytes`)
  }
}

const isPlainPath = (path: string): boolean =>
  path.startsWith('/') &&
  !path.includes('\0') &&
  posix.normalize(path) === path &&
  (path === '/' || !path.endsWith('/'))

/**
 * The options of bubblewrap for one job, without the command. Order matters: the system is mounted last, so a vector
 * cut short (the worker died while writing it) leaves an empty root in which nothing can be executed.
 */
export function bubblewrapOptions(options: {
  spec: SandboxSpec
  descriptors: { seccomp: number; status: number; secrets: number }
  /** Host folder with passwd, group, hosts, nsswitch.conf. */
  etc: string
  /** What of the product runs inside; only with egress. */
  forwarder?: { node: string; script: string }
  /** What the worker grants. */
  gpus: readonly Gpu[]
}): string[] {
  const { spec } = options
  const flags = [
    ...['--unshare-all', '--unshare-user', '--disable-userns', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--uid', String(INSIDE_UID), '--gid', String(INSIDE_UID), '--hostname', 'job'],
    ...['--seccomp', String(options.descriptors.seccomp), '--json-status-fd', String(options.descriptors.status)],
    ...['--chdir', spec.cwd ?? '/job'],
  ]
  const env = { PATH, HOME: '/job', LANG: 'C.UTF-8', ...spec.env }
  for (const [name, value] of Object.entries(env)) flags.push('--setenv', name, value)
  const places = [
    '--dir',
    '/usr',
    '--dir',
    '/etc',
    '--dir',
    '/run',
    '--dir',
    '/home',
    '--proc',
    '/proc',
    '--dev',
    '/dev',
  ]
  // bubblewrap's own tmpfs have no size: without it a job fills the machine's memory through /dev/shm.
  for (const place of writablePlaces(spec.limits.diskBytes)) {
    places.push('--size', String(place.bytes), '--perms', '1777', '--tmpfs', place.path)
  }
  places.push('--dir', '/job/out')
  for (const path of [...INIT_MEMORY, ...MASKED.filter(exists)]) places.push('--ro-bind', '/dev/null', path)
  for (const name of ['passwd', 'group', 'hosts', 'nsswitch.conf']) {
    places.push('--ro-bind', `${options.etc}/${name}`, `/etc/${name}`)
  }
  for (const path of ETC_FROM_HOST) places.push('--ro-bind-try', path, path)
  for (const mount of spec.mounts ?? []) places.push(...mountOption(mount))
  places.push(...secretOptions(Object.keys(spec.secrets ?? {}), options.descriptors.secrets))
  if (spec.gpu === true) places.push(...gpuOptions(options.gpus))
  if (spec.egressSocket !== undefined && options.forwarder !== undefined) {
    places.push(
      '--ro-bind',
      options.forwarder.node,
      INSIDE.node,
      '--ro-bind',
      options.forwarder.script,
      INSIDE.forwarder,
    )
    places.push('--ro-bind', spec.egressSocket, INSIDE.egress)
  }
  // The root and /dev are tmpfs too, unlimited and writable until now.
  return [
    ...flags,
    ...places,
    ...systemLinks(),
    '--remount-ro',
    '/dev',
    '--remount-ro',
    '/',
    '--ro-bind',
    '/usr',
    '/usr',
  ]
}

/** bubblewrap copies each descriptor into the root's tmpfs, which is closed for writing afterwards. */
const secretOptions = (names: readonly string[], firstFd: number): string[] =>
  names.length === 0
    ? []
    : [
        ...['--perms', '0500', '--dir', '/run/secrets'],
        ...names.flatMap((name, at) => ['--perms', '0400', '--file', String(firstFd + at), `/run/secrets/${name}`]),
      ]

const mountOption = (mount: SandboxMount): string[] => [
  mount.writable === true ? '--bind' : '--ro-bind',
  mount.from,
  mount.to,
]

/** /bin, /lib … as this host has them: links into /usr on a merged system, folders of their own on an older one. */
function systemLinks(): string[] {
  return ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].flatMap((path) => {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined) return []
    return stat.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path]
  })
}

const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

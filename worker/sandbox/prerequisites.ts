import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { SYSCALLS } from './syscalls.ts'
import { SandboxUnavailable } from './unavailable.ts'

/** Absolute paths of the programs a launch goes through. */
export interface Tools {
  readonly bwrap: string
  readonly setpriv: string
  readonly prlimit: string
  readonly mkfifo: string
  readonly chown: string
  readonly sh: string
}

const FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin']
const PACKAGES: Readonly<Record<keyof Tools, string>> = {
  bwrap: 'bubblewrap',
  setpriv: 'util-linux',
  prlimit: 'util-linux',
  mkfifo: 'coreutils',
  chown: 'coreutils',
  sh: 'dash',
}

/** The command that installs packages on this machine, by the package manager it has. */
function installCommand(packages: readonly string[], folders: readonly string[]): string {
  const list = [...new Set(packages)].join(' ')
  const manager = (name: string): boolean => folders.some((folder) => existsSync(`${folder}/${name}`))
  if (manager('apt-get')) return `sudo apt-get install -y ${list}`
  if (manager('dnf')) return `sudo dnf install -y ${list}`
  if (manager('pacman')) return `sudo pacman -S --needed ${list}`
  if (manager('zypper')) return `sudo zypper install -y ${list}`
  if (manager('apk')) return `sudo apk add ${list.replace('util-linux', 'setpriv util-linux')}`
  return `install: ${list}`
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // the answer to the question asked
  }
}

/** The programs the sandbox is made of, by absolute path; throws SandboxUnavailable naming all that are missing. */
export function requireTools(folders: readonly string[] = FOLDERS): Tools {
  const find = (name: string): string | undefined => folders.map((folder) => `${folder}/${name}`).find(isExecutable)
  const bwrap = find('bwrap')
  const setpriv = find('setpriv')
  const prlimit = find('prlimit')
  const mkfifo = find('mkfifo')
  const chown = find('chown')
  const sh = find('sh')
  if (
    bwrap !== undefined &&
    setpriv !== undefined &&
    prlimit !== undefined &&
    mkfifo !== undefined &&
    chown !== undefined &&
    sh !== undefined
  ) {
    return { bwrap, setpriv, prlimit, mkfifo, chown, sh }
  }
  const names = ['bwrap', 'setpriv', 'prlimit', 'mkfifo', 'chown', 'sh'] as const
  const missing = names.filter((name) => find(name) === undefined)
  throw new SandboxUnavailable(
    `The sandbox needs ${missing.join(', ')}, not found on this machine.`,
    installCommand(
      missing.map((name) => PACKAGES[name]),
      FOLDERS,
    ),
  )
}

/** Refuses a system the sandbox cannot be built on; throws SandboxUnavailable. */
export function requirePlatform(platform: string, arch: string): void {
  if (platform !== 'linux') {
    throw new SandboxUnavailable(
      `Jobs run in Linux namespaces; this is ${platform}.`,
      'Run the worker on a Linux machine or in a Linux virtual machine.',
    )
  }
  if (SYSCALLS[arch] === undefined) {
    throw new SandboxUnavailable(
      `There is no seccomp table for ${arch} yet.`,
      `Run the worker on one of: ${Object.keys(SYSCALLS).join(', ')}.`,
    )
  }
}

/** Kernel switches that forbid what bubblewrap needs. */
export interface KernelSwitches {
  appArmorRestrictsUserNamespaces: boolean
  unprivilegedUserNamespaces: boolean
  maxUserNamespaces: number
}

export function readKernelSwitches(): KernelSwitches {
  const number = (path: string): number | undefined =>
    existsSync(path) ? Number(readFileSync(path, 'latin1')) : undefined
  return {
    appArmorRestrictsUserNamespaces: number('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === 1,
    unprivilegedUserNamespaces: number('/proc/sys/kernel/unprivileged_userns_clone') !== 0,
    maxUserNamespaces: number('/proc/sys/user/max_user_namespaces') ?? 0,
  }
}

/** Turns bubblewrap's own complaint at the first trial into the reason and the one command that helps. */
export function explainRefusal(complaint: string, kernel: KernelSwitches): SandboxUnavailable {
  const said = `bubblewrap said: ${complaint.trim() || 'nothing'}`
  if (kernel.maxUserNamespaces === 0) {
    return new SandboxUnavailable(
      `The kernel allows no user namespaces (user.max_user_namespaces is 0). ${said}`,
      'echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-hivesync.conf && sudo sysctl --system',
    )
  }
  if (!kernel.unprivilegedUserNamespaces) {
    return new SandboxUnavailable(
      `The kernel keeps user namespaces from ordinary users (kernel.unprivileged_userns_clone is 0). ${said}`,
      'echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-hivesync.conf && sudo sysctl --system',
    )
  }
  if (kernel.appArmorRestrictsUserNamespaces) {
    // Ubuntu 24.04 and later: a program may make user namespaces only when an AppArmor profile names it.
    return new SandboxUnavailable(
      `AppArmor keeps user namespaces from programs without a profile (Ubuntu 24.04 and later). ${said}`,
      String.raw`printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap`,
    )
  }
  return new SandboxUnavailable(
    `bubblewrap cannot build a sandbox here. ${said}`,
    'In a container, allow user namespaces and an unmasked /proc (docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined), or run the worker on the host.',
  )
}

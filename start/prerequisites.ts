import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

/** What the worker's sandbox and fetcher call, and the package that brings it (the names are the same on every system below). */
const programs = [
  { program: 'bwrap', package: 'bubblewrap' },
  { program: 'git', package: 'git' },
  { program: 'setpriv', package: 'util-linux' },
  { program: 'prlimit', package: 'util-linux' },
] as const

const managers = [
  {
    program: 'apt-get',
    refresh: ['update'],
    install: ['install', '-y', '--no-install-recommends'],
    extra: ['ca-certificates'],
  },
  { program: 'dnf', refresh: null, install: ['install', '-y'], extra: ['ca-certificates'] },
  { program: 'zypper', refresh: null, install: ['--non-interactive', 'install'], extra: ['ca-certificates'] },
  { program: 'pacman', refresh: null, install: ['-S', '--noconfirm', '--needed'], extra: ['ca-certificates'] },
  { program: 'apk', refresh: null, install: ['add'], extra: ['setpriv', 'ca-certificates'] },
] as const

const folders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin']

function isInstalled(program: string, searched: readonly string[]): boolean {
  return searched.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

export interface Missing {
  programs: string[]
  /** What installs them, as argument vectors and as one would type it; null where the package manager is not one we know. */
  remedy: { commands: string[][]; text: string } | null
}

/** The programs a worker needs and this machine lacks; undefined when it lacks none. Debian without sudo, its usual state, is asked with `su`. */
export function findMissing(
  searched: readonly string[] = folders,
  isRoot = process.getuid?.() === 0,
): Missing | undefined {
  const missing = programs.filter(({ program }) => !isInstalled(program, searched))
  if (missing.length === 0) return undefined
  const names = missing.map(({ program }) => program)
  const manager = managers.find(({ program }) => isInstalled(program, searched))
  if (manager === undefined) return { programs: names, remedy: null }
  const packages = [...new Set(missing.map((entry) => entry.package)), ...manager.extra]
  const refresh = manager.refresh === null ? [] : [[manager.program, ...manager.refresh]]
  const commands = [...refresh, [manager.program, ...manager.install, ...packages]]
  if (isRoot) return { programs: names, remedy: { commands, text: textOf(commands) } }
  if (isInstalled('sudo', searched)) {
    const elevated = commands.map((command) => ['sudo', ...command])
    return { programs: names, remedy: { commands: elevated, text: textOf(elevated) } }
  }
  // With root's environment: the user's PATH may lack /sbin, without which dpkg refuses to work.
  const text = textOf(commands)
  return { programs: names, remedy: { commands: [['su', '-', '-c', text]], text: `su - -c '${text}'` } }
}

function textOf(commands: readonly string[][]): string {
  return commands.map((command) => command.join(' ')).join(' && ')
}

/** Runs the package manager with its output shown; false when a command fails. Only ever called on the user's explicit `--install`. */
export function install(commands: readonly string[][]): boolean {
  return commands.every(
    ([program = '', ...args]) => spawnSync(program, args, { stdio: ['inherit', 2, 2] }).status === 0,
  )
}

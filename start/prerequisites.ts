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

function isInstalled(program: string): boolean {
  return folders.some((folder) => {
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
  /** The commands that install them, as argument vectors; null where the package manager is not one we know. */
  commands: string[][] | null
}

/** The programs a worker needs and this machine lacks; undefined when it lacks none. */
export function findMissing(): Missing | undefined {
  const missing = programs.filter(({ program }) => !isInstalled(program))
  if (missing.length === 0) return undefined
  const names = missing.map(({ program }) => program)
  const manager = managers.find(({ program }) => isInstalled(program))
  if (manager === undefined) return { programs: names, commands: null }
  const prefix = process.getuid?.() === 0 ? [] : ['sudo']
  const packages = [...new Set(missing.map((entry) => entry.package)), ...manager.extra]
  const refresh = manager.refresh === null ? [] : [[...prefix, manager.program, ...manager.refresh]]
  return { programs: names, commands: [...refresh, [...prefix, manager.program, ...manager.install, ...packages]] }
}

/** Runs the package manager with its output shown; false when a command fails. Only ever called on the user's explicit `--install`. */
export function install(commands: readonly string[][]): boolean {
  return commands.every(
    ([program = '', ...args]) => spawnSync(program, args, { stdio: ['inherit', 2, 2] }).status === 0,
  )
}

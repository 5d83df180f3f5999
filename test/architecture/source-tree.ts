import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { scanSource } from './scan-source.ts'

export const rootDirectory = join(import.meta.dirname, '..', '..')

const ignoredNames = new Set(['node_modules', '.git', 'data', 'dist', 'coverage'])

/** Path of every file of the repository, relative and sorted; nothing installed, built or stored at run time. */
export function listFiles(directory = ''): string[] {
  return readdirSync(join(rootDirectory, directory), { withFileTypes: true })
    .filter((entry) => !ignoredNames.has(entry.name) && !entry.name.endsWith('.log'))
    .flatMap((entry) => {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`
      if (entry.isDirectory()) return listFiles(path)
      return entry.isFile() ? [path] : []
    })
    .sort()
}

export function readText(path: string): string {
  return readFileSync(join(rootDirectory, path), 'utf8')
}

/** Whether a file is a test or serves tests alone: `x.test.ts`, `test-x.ts`, and all of `test/` and `bench/`. */
export function isTestFile(path: string): boolean {
  return /\.test\.tsx?$|\/test-[^/]+\.tsx?$/.test(path) || path.startsWith('test/') || path.startsWith('bench/')
}

/** The TypeScript files of the repository, scanned. */
export function readSources() {
  return listFiles()
    .filter((path) => /\.tsx?$/.test(path))
    .map((path) => ({ path, text: readText(path), ...scanSource(readText(path)) }))
}

/** Whether a path is one of the homes: a folder ending in a slash, or a path in which `*` stands for part of a name. */
export function isAtHome(path: string, homes: readonly string[]): boolean {
  return homes.some((home) => {
    if (home.endsWith('/')) return path.startsWith(home)
    const [prefix = '', suffix] = home.split('*')
    return suffix === undefined ? path === home : path.startsWith(prefix) && path.endsWith(suffix)
  })
}

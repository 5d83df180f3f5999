import assert from 'node:assert/strict'
import { homedir } from 'node:os'
import { test } from 'node:test'
import { isTestFile, listFiles, readSources, readText, rootDirectory } from './source-tree.ts'

const maxLines = 300
const maxTestLines = 400
const maxScripts = 8
const counted = /\.(?:tsx?|m?js|css|sh|py)$/ // migrations only grow: once applied they are not split
const text =
  /\.(?:tsx?|m?js|css|html|sql|sh|md|json|ya?ml|toml|example|service|conf)$|(?:^|\/)(?:run|Caddyfile|\.\w+rc)$/
/** Names that say nothing about what is inside, so that anything gets put there. */
const forbiddenNames = /^(?:utils?|helpers?|common|lib|core|types?|shared|misc)$/
const barrels = ['sdk/index.ts', 'server/jobs/jobs.ts']

const files = listFiles()
const sources = readSources()
const manifests = files
  .filter((path) => /(?:^|\/)package\.json$/.test(path))
  .map((path) => ({ path, manifest: JSON.parse(readText(path)) as Manifest }))

interface Manifest {
  name: string
  scripts?: Record<string, string>
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

interface LockedPackage {
  resolved?: string
  link?: boolean
  hasInstallScript?: boolean
  integrity?: string
  os?: string[]
  libc?: string[]
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

test(`no file is longer than ${maxLines} lines, no test than ${maxTestLines}`, () => {
  const long = files
    .filter((path) => counted.test(path))
    .map((path) => ({ path, lines: readText(path).trimEnd().split('\n').length }))
    .filter(({ path, lines }) => lines > (isTestFile(path) ? maxTestLines : maxLines))
  assert.deepEqual(long, [])
})

test('no folder or file is named for nothing in particular', () => {
  const vague = files.filter((path) => path.split('/').some((part) => forbiddenNames.test(part.replace(/\..*$/, ''))))
  assert.deepEqual(vague, [])
})

test('file names are kebab-case', () => {
  const odd = sources.filter(({ path }) => !/^[a-z0-9]+(?:[.-][a-z0-9]+)*\.tsx?$/.test(path.split('/').at(-1) ?? ''))
  assert.deepEqual(
    odd.map(({ path }) => path),
    [],
  )
})

test('no file only passes on what others export, and no index.ts but that of the SDK', () => {
  const passing = /^\s*(?:export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*(['"])\s*\1\s*;?\s*)+$/
  const found = sources.filter(({ path, code }) => passing.test(code) || /(?:^|\/)index\.tsx?$/.test(path))
  assert.deepEqual(
    found.map(({ path }) => path).filter((path) => !barrels.includes(path)),
    [],
  )
})

test('exports have names', () => {
  const found = sources.filter(({ code }) => /\bexport\s+default\b|\bas\s+default\b/.test(code))
  assert.deepEqual(
    found.map(({ path }) => path),
    [],
  )
})

test('nothing is left for later', () => {
  const left = /\b(?:TO(?:DO)|FIX(?:ME))\b/ // spelled so that it does not find itself
  const found = files.filter((path) => text.test(path) && path !== 'package-lock.json' && left.test(readText(path)))
  assert.deepEqual(found, [])
})

test('no file names a place on the machine it was written on', () => {
  // Where a package or an image would put it, the path is no secret and may well be written down.
  const isUsual = /^\/(?:[^/]+|(?:opt|srv|usr|var)\/.*)$/.test(rootDirectory)
  const home = homedir()
  const places = [...(isUsual ? [] : [rootDirectory]), ...(/^\/(?:home|Users)\/./.test(home) ? [`${home}/`] : [])]
  const named = files.filter((path) => {
    if (!text.test(path)) return false
    const content = readText(path)
    return places.some((place) => content.includes(place)) || /\/Users\/[a-z]+\//.test(content)
  })
  assert.deepEqual(
    named.filter((path) => path !== 'test/architecture/layout.test.ts'),
    [],
  )
})

test('few scripts, and none that runs by itself at install', () => {
  for (const { path, manifest } of manifests) {
    const names = Object.keys(manifest.scripts ?? {})
    assert.ok(names.length <= maxScripts, `${path} has ${names.length} scripts`)
    const hooks = names.filter((name) => /^(?:pre|post)?(?:install|prepare|publish|pack)/.test(name))
    assert.deepEqual(hooks, [], path)
  }
})

test('every version of a dependency is stated once and exactly', () => {
  const stated = new Map<string, string>()
  for (const { path, manifest } of manifests) {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = manifest
    const all = { ...peerDependencies, ...optionalDependencies, ...devDependencies, ...dependencies }
    for (const [name, version] of Object.entries(all)) {
      if (name.startsWith('@hivesync/')) {
        assert.equal(version, '*', `${path}: ${name} is a workspace of this repository`)
        continue
      }
      assert.match(version, /^\d+\.\d+\.\d+(?:-[\w.]+)?$/, `${path}: ${name} is not pinned`)
      assert.equal(stated.get(name) ?? version, version, `${path}: ${name} has another version elsewhere`)
      stated.set(name, version)
    }
  }
})

const locked = (JSON.parse(readText('package-lock.json')) as { packages: Record<string, LockedPackage> }).packages
const installed = Object.entries(locked).filter(([path, entry]) => path.includes('node_modules/') && !entry.link)

test('the lockfile names no registry, and no package needs an install script', () => {
  assert.deepEqual(
    installed.filter(([, entry]) => entry.resolved !== undefined),
    [],
  )
  assert.deepEqual(
    installed.filter(([, entry]) => entry.hasInstallScript).map(([path]) => path),
    [],
  )
})

test('every package that Linux with glibc can install has its digest in the lockfile', () => {
  const isSupported = ({ os, libc }: LockedPackage) =>
    (os?.includes('linux') ?? true) && (libc?.includes('glibc') ?? true)
  const unverified = installed.filter(([, entry]) => isSupported(entry) && entry.integrity === undefined)
  assert.deepEqual(
    unverified.map(([path]) => path),
    [],
  )
})

test('the lockfile holds every dependency it names, else npm ci refuses it', () => {
  const missing = Object.entries(locked).flatMap(([path, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })
      .filter((name) => !isLocked(path, name))
      .map((name) => `${path || 'package.json'} needs ${name}`),
  )
  assert.deepEqual(missing, [])
})

/** Whether a package is found from another one's place, as Node looks for it: there, and in each folder above. */
function isLocked(path: string, name: string): boolean {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    if (`${folder === '' ? '' : `${folder}/`}node_modules/${name}` in locked) return true
    if (folder === '') return false
  }
}

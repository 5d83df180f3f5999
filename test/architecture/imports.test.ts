import assert from 'node:assert/strict'
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { test } from 'node:test'
import { isAtHome, isTestFile, readSources, readText } from './source-tree.ts'

// --- The rules, as data

/** Which workspaces a workspace may import; each may import itself. */
const arrows: Record<string, readonly string[]> = {
  contracts: [],
  protocol: [],
  sdk: ['contracts'],
  server: ['contracts', 'protocol'],
  worker: ['contracts', 'protocol', 'sdk'],
  cli: ['contracts', 'sdk'],
  console: ['contracts', 'sdk'],
  editor: ['contracts', 'sdk'],
  bin: ['contracts', 'sdk', 'server', 'worker', 'cli'],
  start: ['contracts', 'protocol', 'server', 'worker'],
  'start.ts': ['contracts', 'protocol', 'server', 'worker', 'start'],
}

/** Packages and built-in modules of workspaces that may have only these. */
const onlyModules: Record<string, readonly string[]> = {
  contracts: ['typebox', 'typebox/value'],
  // zlib: both ends unpack the same archives, and must refuse the same ones.
  protocol: ['node:crypto', 'node:zlib'],
}

/** Files of server that stand above the nouns and may import any of them. */
const serverTop = [
  'server/app.ts',
  'server/background.ts',
  'server/revocations.ts',
  'server/main.ts',
  'server/commands/',
]

/** Modules with one home. */
const moduleHomes: Record<string, readonly string[]> = {
  'node:crypto': ['server/platform/crypto/', 'protocol/', 'worker/enrol/', 'cli/file-digest.ts'],
  ws: ['server/platform/http/'],
  nodemailer: ['server/platform/mail/'],
  'openid-client': ['server/platform/net/'],
  '@simplewebauthn/server': ['server/platform/crypto/'],
  otpauth: ['server/platform/crypto/'],
  '@node-rs/bcrypt': ['server/platform/crypto/'],
  '@node-rs/argon2': ['server/platform/crypto/'],
  undici: ['server/platform/net/', 'worker/fetch/egress-proxy.ts', 'worker/report/', 'sdk/'],
}

/** Code with one home; tests and benchmarks are free. */
const codeHomes: { what: string; pattern: RegExp; homes: readonly string[] }[] = [
  {
    what: 'process.env',
    pattern: /\bprocess\.env\b/,
    homes: ['server/platform/config*.ts', 'worker/config.ts', 'cli/settings*.ts', 'start.ts', 'bin/'],
  },
  {
    what: 'the clock',
    pattern: /\bDate\.now\b|\bnew Date\(\)/,
    homes: ['server/platform/clock.ts', 'worker/clock.ts', 'cli/'],
  },
  {
    what: 'Math.random',
    pattern: /\bMath\.random\b/,
    homes: ['server/platform/clock.ts', 'server/platform/random.ts', 'worker/clock.ts', 'cli/'],
  },
  {
    what: 'an outgoing request',
    pattern:
      /(?<![.\w]|function )fetch\(|\bhttps?\.(?:request|get)\(|\bhttp2\.connect\(|\b(?:net|tls)\.(?:connect|createConnection)\(/,
    homes: ['server/platform/net/', 'worker/fetch/egress-proxy.ts', 'worker/report/', 'sdk/', 'bin/', 'start.ts'],
  },
]

/** Names whose import from these modules is an outgoing request too. */
const outgoingModules = ['node:http', 'node:https', 'node:http2', 'node:net', 'node:tls']
const outgoingNames = /\b(?:request|get|connect|createConnection)\b/

// --- The graph

const sources = readSources()
const workspaces = new Set(Object.keys(arrows))
const production = sources.filter(({ path }) => !isTestFile(path))

/** Path in the repository an import leads to, or undefined for packages and built-in modules. */
function findTarget(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(path), specifier)
  return specifier.startsWith('@hivesync/') ? specifier.slice('@hivesync/'.length) : undefined
}

function layerOf(path: string): string {
  return path.split('/')[0] ?? path
}

const edges = sources.flatMap((source) =>
  source.imports.map((found) => ({
    path: source.path,
    specifier: found.specifier,
    clause: found.clause,
    place: `${source.path}:${found.line} imports ${found.specifier}`,
    target: findTarget(source.path, found.specifier),
  })),
)

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function nounOf(path: string): string | undefined {
  const [layer, folder, rest] = path.split('/')
  const isNoun = layer === 'server' && rest !== undefined && folder !== 'platform' && folder !== 'commands'
  return isNoun ? folder : undefined
}

// --- The rules, checked

test('a workspace imports only the workspaces below it', () => {
  const wrong = edges.filter(({ path, target }) => {
    const [from, to] = [layerOf(path), layerOf(target ?? path)]
    if (from === to || !workspaces.has(from)) return false
    // A test may use the harness, never the other end of the wire.
    if (isTestFile(path) && to === 'test') return false
    return !arrows[from]?.includes(to)
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('contracts import only typebox, protocol only node:crypto and node:zlib', () => {
  const wrong = edges.filter(({ path, specifier, target }) => {
    const allowed = onlyModules[layerOf(path)]
    return allowed && target === undefined && !isTestFile(path) && !allowed.includes(specifier)
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('a workspace imports only packages its package.json declares', () => {
  const wrong = edges.filter(({ path, specifier }) => {
    const layer = layerOf(path)
    const isBuiltin = specifier.startsWith('node:') || builtinModules.includes(specifier)
    if (specifier.startsWith('.') || isBuiltin || !workspaces.has(layer) || layer.startsWith('start')) return false
    const manifest = JSON.parse(readText(`${layer}/package.json`)) as { name: string; dependencies?: object }
    const root = JSON.parse(readText('package.json')) as { devDependencies?: object }
    const declared = { ...manifest.dependencies, ...(isTestFile(path) ? root.devDependencies : {}) }
    return packageOf(specifier) !== manifest.name && !(packageOf(specifier) in declared)
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('built-in modules are imported with their node: prefix', () => {
  const wrong = edges.filter(({ specifier }) => builtinModules.includes(specifier) && !specifier.startsWith('node:'))
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('the platform of the server knows no noun', () => {
  const wrong = edges.filter(
    ({ path, target }) =>
      path.startsWith('server/platform/') &&
      !isTestFile(path) &&
      target?.startsWith('server/') &&
      !target.startsWith('server/platform/'),
  )
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('a noun imports another noun only through its main file, and nothing above it', () => {
  const wrong = edges.filter(({ path, target }) => {
    const [from, to] = [nounOf(path), nounOf(target ?? '')]
    if (from === undefined || target === undefined || isTestFile(path)) return false
    if (isAtHome(target, serverTop)) return true
    return to !== undefined && to !== from && target !== `server/${to}/${to}.ts`
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('only files above the nouns reach into the modules of the server', () => {
  const wrong = edges.filter(({ path, target }) => {
    if (target === undefined || isTestFile(path) || !nounOf(target) || nounOf(path)) return false
    return !isAtHome(path, [...serverTop, 'bin/', 'start.ts'])
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('nothing that runs in production imports what serves tests', () => {
  const wrong = edges.filter(({ path, target }) => target !== undefined && isTestFile(target) && !isTestFile(path))
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('imports form no circle', () => {
  const graph = new Map(sources.map(({ path }) => [path, [] as string[]]))
  // Imports of types alone do not count: they are gone when the program runs.
  const running = edges.filter(({ clause }) => !clause.trimStart().startsWith('type '))
  for (const { path, target } of running) if (target && graph.has(target)) graph.get(path)?.push(target)
  assert.deepEqual(findCircles(graph), [])
})

test('modules with one home are imported nowhere else', () => {
  const wrong = edges.filter(({ path, specifier }) => {
    const homes = moduleHomes[specifier]
    return homes && !isTestFile(path) && !isAtHome(path, homes)
  })
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

for (const { what, pattern, homes } of codeHomes) {
  test(`${what} is used only at home`, () => {
    const wrong = production
      .filter(({ path }) => !isAtHome(path, homes))
      .flatMap(({ path, code }) =>
        code.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}`] : [])),
      )
    assert.deepEqual(wrong, [])
  })
}

test('functions that open a connection are imported only at home', () => {
  const homes = codeHomes.find(({ what }) => what === 'an outgoing request')?.homes ?? []
  const wrong = edges.filter(
    ({ path, specifier, clause }) =>
      outgoingModules.includes(specifier) && outgoingNames.test(clause) && !isTestFile(path) && !isAtHome(path, homes),
  )
  assert.deepEqual(
    wrong.map(({ place }) => place),
    [],
  )
})

test('the homes named here exist or are still to be built, and none is a mistyped path', () => {
  const homes = [...Object.values(moduleHomes), ...codeHomes.map(({ homes }) => homes), serverTop].flat()
  const known = new Set([...Object.keys(arrows), 'test', 'bench'])
  assert.deepEqual(
    homes.filter((home) => !known.has(layerOf(home))),
    [],
  )
})

/** Each circle once, as the files it runs through (depth-first search with colors). */
function findCircles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>()
  const trail: string[] = []
  const circles: string[] = []
  function visit(path: string): void {
    if (done.has(path)) return
    const start = trail.indexOf(path)
    if (start >= 0) {
      circles.push([...trail.slice(start), path].join(' → '))
      return
    }
    trail.push(path)
    for (const next of graph.get(path) ?? []) visit(next)
    trail.pop()
    done.add(path)
  }
  for (const path of graph.keys()) visit(path)
  return circles
}

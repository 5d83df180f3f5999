import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { accessSync, chownSync, constants, existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { requireTools } from './prerequisites.ts'

// Everything the root worker proves, proved again by a user who owns nothing.

const UID = 61_000
const CGROUPS = '/sys/fs/cgroup'

/** Why this cannot be tested here, or false. */
function reasonToSkip(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to become another user'
  for (let path = import.meta.dirname; path !== '/'; path = dirname(path)) {
    if ((statSync(path).mode & 0o005) !== 0o005) return `an ordinary user cannot read ${path}`
  }
  return false
}
const skip = reasonToSkip()

function runAsOrdinaryUser(args: readonly string[]): { status: number | null; output: string } {
  const { setpriv } = requireTools()
  const user = [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--bounding-set=-all', '--inh-caps=-all']
  const done = spawnSync(setpriv, [...user, process.execPath, ...args], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    encoding: 'utf8',
  })
  return { status: done.status, output: `${done.stdout}${done.stderr}` }
}

for (const file of [
  'escape.test.ts',
  'limits.test.ts',
  'egress.test.ts',
  'layers.test.ts',
  'layers-host.test.ts',
  'cgroup-v2.test.ts',
]) {
  test(`as an ordinary user without cgroups: ${file}`, { skip }, () => {
    const { status, output } = runAsOrdinaryUser(['--test', '--test-reporter=tap', join(import.meta.dirname, file)])
    assert.equal(status, 0, output)
  })
}

const script = (parents: unknown): string => `
const { openSandbox } = await import(${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))})
const { proveIsolation } = await import(${JSON.stringify(join(import.meta.dirname, 'self-test.ts'))})
const sandbox = await openSandbox({ slots: 2, cgroupParent: ${JSON.stringify(parents)} })
const report = await proveIsolation(sandbox)
await sandbox.close()
console.log(JSON.stringify({ layers: sandbox.layers, level: report.level, open: report.checks.filter((c) => !c.blocked) }))`

test('without cgroups the level is reduced and the watchdog named', { skip }, () => {
  const { output } = runAsOrdinaryUser(['--input-type=module', '-e', script(undefined)])
  const report = JSON.parse(output.trim().split('\n').at(-1) ?? '')
  assert.deepEqual(report, { layers: ['namespaces', 'seccomp', 'rlimits', 'rss-watchdog'], level: 'reduced', open: [] })
})

test('parents that cannot be written are not named as layers', { skip }, () => {
  const parents = {
    memory: `${CGROUPS}/memory`,
    pids: `${CGROUPS}/pids`,
    cpu: '/nowhere',
    unified: `${CGROUPS}/unified`,
  }
  const { output } = runAsOrdinaryUser(['--input-type=module', '-e', script(parents)])
  assert.deepEqual(JSON.parse(output.trim().split('\n').at(-1) ?? '').layers.at(-1), 'rss-watchdog')
})

const controllers = ['memory', 'pids', 'cpu'] as const
const canDelegate = controllers.every((name) => {
  try {
    accessSync(join(CGROUPS, name), constants.W_OK)
    return existsSync(join(CGROUPS, name, 'tasks'))
  } catch {
    return false
  }
})
const skipDelegated = skip === false && !canDelegate ? 'no writable cgroup v1 controllers on this machine' : skip

test('with delegated cgroup v1 parents the kernel holds the limits of an ordinary user’s jobs', {
  skip: skipDelegated,
}, () => {
  const folder = (name: string): string => join(CGROUPS, name, `delegated-test-${process.pid}`)
  for (const name of controllers) {
    mkdirSync(folder(name))
    chownSync(folder(name), UID, UID)
  }
  try {
    const parents = Object.fromEntries(controllers.map((name) => [name, folder(name)]))
    const { output } = runAsOrdinaryUser(['--input-type=module', '-e', script(parents)])
    const report = JSON.parse(output.trim().split('\n').at(-1) ?? '')
    assert.deepEqual(report.open, [], output)
    assert.equal(report.level, 'full')
    assert.deepEqual(report.layers.slice(3), ['cgroup-v1-memory', 'cgroup-v1-pids', 'cgroup-v1-cpu'])
    for (const name of controllers) {
      const left = readdirSync(folder(name), { withFileTypes: true }).filter((entry) => entry.isDirectory())
      assert.deepEqual(left, [])
    }
  } finally {
    for (const name of controllers) rmdirSync(folder(name))
  }
})

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { exitCodes } from '../../worker/exit-codes.ts'

const root = join(import.meta.dirname, '..', '..')
const units = ['hivesync-server.service', 'hivesync-worker.service'] as const
const pathOf = (unit: string) => join(root, 'deploy', 'systemd', unit)

/** The values of each setting of a unit's [Service]; a later line of a list adds to it, as in systemd. */
function readService(unit: string): Map<string, string[]> {
  const settings = new Map<string, string[]>()
  let section = ''
  for (const line of readFileSync(pathOf(unit), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const header = /^\[(\w+)\]$/.exec(line)?.[1]
    if (header !== undefined) {
      section = header
      continue
    }
    const [, name, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? []
    assert.ok(name !== undefined && value !== undefined, `${unit}: ${line}`)
    if (section === 'Service') settings.set(name, [...(settings.get(name) ?? []), value])
  }
  return settings
}

test('both units give their process no privilege and nothing of the machine to write', () => {
  for (const unit of units) {
    const service = readService(unit)
    const has = (name: string, value: string) => assert.deepEqual(service.get(name), [value], `${unit}: ${name}`)
    for (const name of ['NoNewPrivileges', 'ProtectHome', 'PrivateTmp', 'RestrictSUIDSGID', 'LockPersonality'])
      has(name, 'yes')
    has('ProtectSystem', 'strict')
    has('CapabilityBoundingSet', '')
    has('AmbientCapabilities', '')
    has('StateDirectoryMode', '0700')
    assert.ok(service.has('LoadCredential'), unit)
  }
})

test('the worker may do what its sandbox needs, and has the control groups it divides among jobs', () => {
  const service = readService('hivesync-worker.service')
  assert.deepEqual(service.get('Delegate'), ['memory pids cpu'])
  const namespaces = service.get('RestrictNamespaces')?.[0]?.split(' ') ?? []
  assert.deepEqual(namespaces.toSorted(), ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'])
  // Each of these keeps bubblewrap from mounting a /proc of its own, naming the host inside, or filtering system calls.
  for (const name of ['ProtectKernelTunables', 'ProtectKernelLogs', 'ProtectControlGroups', 'ProcSubset'])
    assert.equal(service.has(name), false, name)
  for (const name of ['ProtectHostname', 'SystemCallFilter', 'PrivateDevices', 'PrivateUsers'])
    assert.equal(service.has(name), false, name)
})

test('a worker is not started again when that would only repeat how it ended', () => {
  const { expired, revoked, configuration } = exitCodes
  const statuses = readService('hivesync-worker.service').get('RestartPreventExitStatus')
  assert.deepEqual(statuses, [[expired, revoked, configuration].join(' ')])
})

test('no secret stands in a unit or in its environment', () => {
  for (const unit of units) {
    for (const value of readService(unit).get('Environment') ?? [])
      assert.match(value, /^HIVESYNC_[A-Z_]+=%[dS]\/[a-z-]+$/, value)
  }
})

test('every setting that operations.md names is in the unit', () => {
  const text = readFileSync(join(root, 'docs', 'operations.md'), 'utf8')
  const named = new Set([...text.matchAll(/`([A-Z][A-Za-z]+)=`/g)].map(([, name]) => name ?? ''))
  const known = new Set(units.flatMap((unit) => [...readService(unit).keys()]))
  assert.ok(named.size > 3)
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  )
})

/** A copy whose command exists on this machine, for the tool checks that too. */
function stage(t: TestContext, unit: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-unit-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, unit)
  cpSync(pathOf(unit), path)
  spawnSync('sed', ['-i', 's#^ExecStart=[^ ]*#ExecStart=/bin/true#', path])
  return path
}

const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0
const skip = hasAnalyze ? false : 'systemd-analyze is not installed'
/** What `systemd-analyze security` rates at most; 10 is no protection at all. The worker's sandbox costs it namespaces and /proc. */
const exposure = { 'hivesync-server.service': 1.5, 'hivesync-worker.service': 5.5 } as const

for (const unit of units) {
  test(`systemd accepts ${unit} and rates its exposure no worse than before`, { skip }, (t) => {
    const path = stage(t, unit)
    const verified = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' })
    assert.deepEqual([verified.status, verified.stderr], [0, ''])
    const rated = spawnSync('systemd-analyze', ['security', '--offline=true', path], { encoding: 'utf8' })
    const level = Number(/exposure level for \S+ ([0-9.]+)/.exec(rated.stdout)?.[1])
    assert.ok(level <= exposure[unit], `${level}`)
  })
}

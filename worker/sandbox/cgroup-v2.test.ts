import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findV2Parent, handDown, limitV2, readV2, type UnifiedView } from './cgroup-v2.ts'

// The files of a cgroup v2 tree as the kernel's cgroup-v2.rst has them, in plain folders: what is read and written, not what
// the kernel makes of it. A machine with v1 controllers has no others to try.

let tree: string
before(() => {
  tree = mkdtempSync(join(tmpdir(), 'hivesync-cgroup2-test-'))
})
after(() => rmSync(tree, { recursive: true }))

/** Makes a group with these files, and what leads to it. */
function group(path: string, files: Readonly<Record<string, string>> = {}): string {
  const folder = join(tree, path)
  mkdirSync(folder, { recursive: true })
  const usual = { 'cgroup.controllers': 'cpu memory pids\n', 'cgroup.procs': '', 'cgroup.subtree_control': '' }
  for (const [name, text] of Object.entries({ ...usual, ...files })) writeFileSync(join(folder, name), text)
  return folder
}

const view = (cgroup: string, change: Partial<UnifiedView> = {}): UnifiedView => ({
  cgroup: `5:pids:/v1/only\n0::${cgroup}\n`,
  mountinfo: `22 1 0:5 / /proc rw - proc proc rw\n41 31 0:38 / ${tree} rw,nosuid shared:9 master:1 - cgroup2 cgroup2 rw\n`,
  isRoot: true,
  ...change,
})

test('root takes its own service’s group, and that around a leaf the service already has', () => {
  const service = group('system.slice/hivesync.service', { 'cgroup.type': 'domain\n' })
  assert.equal(findV2Parent(view('/system.slice/hivesync.service')), service)
  assert.equal(findV2Parent(view('/system.slice/hivesync.service/worker')), service)
})

test('a worker that has stepped aside finds the group it stepped out of', () => {
  for (const isRoot of [true, false]) {
    assert.equal(findV2Parent(view('/anything/hivesync-main', { isRoot })), join(tree, 'anything'))
  }
})

test('root in somebody’s session moves nobody: it makes groups at the machine’s real root, and none where that is hidden', () => {
  group('')
  const session = '/user.slice/user-0.slice/session-1.scope'
  assert.equal(findV2Parent(view(session)), tree)
  writeFileSync(join(tree, 'cgroup.type'), 'domain\n') // as the root of a container has
  assert.equal(findV2Parent(view(session)), undefined)
  assert.equal(findV2Parent(view('/')), tree)
  rmSync(join(tree, 'cgroup.type'))
})

test('no v2 hierarchy, or a group outside of what is mounted, is none', () => {
  assert.equal(findV2Parent(view('/', { mountinfo: '22 1 0:5 / /proc rw - proc proc rw\n' })), undefined)
  assert.equal(findV2Parent(view('/../../init.scope')), undefined)
  assert.equal(findV2Parent({ ...view('/'), cgroup: '5:pids:/\n' }), undefined)
})

test('an ordinary user takes only what was delegated: its own group or the one around', {
  skip: process.getuid?.() === 0 ? 'root may write everything' : false,
}, () => {
  const around = group('run.slice/run-1.scope')
  const own = group('run.slice/run-1.scope/leaf')
  const asUser = view('/run.slice/run-1.scope/leaf', { isRoot: false })
  assert.equal(findV2Parent(asUser), own)
  chmodSync(join(own, 'cgroup.subtree_control'), 0o444)
  assert.equal(findV2Parent(asUser), around)
  chmodSync(join(around, 'cgroup.procs'), 0o444)
  assert.equal(findV2Parent(asUser), undefined)
})

test('only controllers that limit and are there are handed down, and CPU time is counted with any of them', () => {
  const all = group('all', { 'cgroup.subtree_control': 'cpu io memory pids\n' })
  assert.deepEqual(handDown(all), ['memory', 'pids', 'cpu', 'cpuacct'])
  const some = group('some', { 'cgroup.controllers': 'hugetlb pids\n', 'cgroup.subtree_control': 'pids\n' })
  assert.deepEqual(handDown(some), ['pids', 'cpuacct'])
  const none = group('none', { 'cgroup.controllers': 'hugetlb\n' })
  assert.deepEqual(handDown(none), [])
  assert.equal(readFileSync(join(none, 'cgroup.subtree_control'), 'latin1'), '')
  mkdirSync(join(tree, 'v1'))
  assert.deepEqual(handDown(join(tree, 'v1')), [])
})

test('a controller the kernel does not hand down, whatever was written, is not named', () => {
  // A plain file keeps `+memory` as it was written; the kernel would answer `memory`.
  assert.deepEqual(handDown(group('deaf')), [])
})

const LIMITS = { memoryBytes: 64 * 1024 * 1024, tasks: 9 }

test('a job’s group gets memory without swap, an end of the whole group, tasks and one core', () => {
  const job = group('job', { 'memory.swap.max': 'max\n', 'cpu.stat': 'usage_usec 0\n' })
  for (const controller of ['memory', 'pids', 'cpu', 'cpuacct'] as const) limitV2(job, controller, LIMITS)
  const held = ['memory.max', 'memory.swap.max', 'memory.oom.group', 'pids.max', 'cpu.max'].map((name) =>
    readFileSync(join(job, name), 'latin1'),
  )
  assert.deepEqual(held, [String(LIMITS.memoryBytes), '0', '1', '9', '100000 100000'])
  const swapless = group('swapless')
  limitV2(swapless, 'memory', LIMITS)
  assert.equal(existsSync(join(swapless, 'memory.swap.max')), false)
})

test('a group that does not count CPU time is refused as one that does', () => {
  assert.throws(() => limitV2(group('old', { 'cpu.stat': 'nr_periods 0\n' }), 'cpuacct', LIMITS), /cpu\.stat/)
})

test('peaks, CPU time and kills are read from the kernel’s files', () => {
  const job = group('used', {
    'memory.peak': '7340032\n',
    'memory.current': '4096\n',
    'memory.events': 'low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n',
    'cpu.stat': 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\ncore_sched.force_idle_usec 0\n',
    'pids.peak': '17\n',
    'pids.current': '2\n',
  })
  assert.deepEqual(readV2(job, 'memory'), { peakMemoryBytes: 7_340_032, oomKills: 3 })
  assert.deepEqual(readV2(job, 'pids'), { peakTasks: 17 })
  assert.deepEqual(readV2(job, 'cpuacct'), { cpuMs: 1235 })
  assert.deepEqual(readV2(job, 'cpu'), {})
})

test('a kernel that counts no peaks is asked for the present, one that counts nothing answers null', () => {
  const older = group('older', { 'memory.current': '4096\n', 'pids.current': '2\n', 'memory.events': 'oom 0\n' })
  assert.deepEqual(readV2(older, 'memory'), { peakMemoryBytes: 4096, oomKills: 0 })
  assert.deepEqual(readV2(older, 'pids'), { peakTasks: 2 })
  assert.deepEqual(readV2(group('bare'), 'memory'), { peakMemoryBytes: null, oomKills: 0 })
  assert.deepEqual(readV2(group('bare'), 'cpuacct'), { cpuMs: null })
})

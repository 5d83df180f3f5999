import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chownSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { listFolders, pidNamespace, readPids, removeTree, removeWithRetries, sweep } from './cgroup-folders.ts'
import { WORKER_LEAF } from './cgroup-v2.ts'
import { type Cgroups, makeJobCgroup } from './cgroups.ts'
import { requireTools } from './prerequisites.ts'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import { runJob, shell } from './testing.ts'

// cgroup v2 as the kernel has it. Membership, counting and the kill need no controller, so a machine whose controllers are
// all v1's shows them too; limits need the controllers.

const MIB = 1024 * 1024
const UID = 61_000
const mount = /^(?:\S+ ){4}(\S+) .*? - cgroup2 /m.exec(readFileSync('/proc/self/mountinfo', 'latin1'))?.[1] ?? ''

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false // the answer to the question asked
  }
}
const skipTree =
  process.getuid?.() !== 0 || !canWrite(join(mount, 'cgroup.procs')) ? 'no cgroup v2 that this user may write' : false
const controllers = mount === '' ? '' : readFileSync(join(mount, 'cgroup.controllers'), 'latin1')
const hasLimits = ['memory', 'pids', 'cpu'].every((name) => controllers.split(/\s+/).includes(name))
const skipLimits = skipTree !== false ? skipTree : hasLimits ? false : 'memory, pids and cpu belong to cgroup v1 here'

/** A process that waits to be put into a group before it runs `script`. */
async function spawnInto(attach: (pid: number) => Promise<void>, script: string): Promise<ChildProcess> {
  const child = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'pipe', 'pipe'] })
  await attach(child.pid ?? 0)
  child.stdin?.end('go\n')
  return child
}

async function outputOf(child: ChildProcess): Promise<string> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  await once(child, 'close')
  return output
}

describe('a group of cgroup v2', { skip: skipTree }, () => {
  const parent = join(mount, `test-${process.pid}`)
  const cgroups: Cgroups = {
    hierarchies: [{ version: 2, folder: join(parent, 'jobs'), controllers: ['cpuacct'] }],
    held: new Set(['cpuacct']),
    layers: [],
  }
  before(() => mkdirSync(parent))
  after(async () => {
    await removeWithRetries(join(parent, 'jobs'))
    await removeWithRetries(parent)
  })

  test('holds what its processes start, wherever that goes, and ends all of it in one step', async () => {
    const group = makeJobCgroup(cgroups, 'killed')
    const child = await spawnInto(group.attach, 'setsid sleep 1000 & (sleep 1000 &) ; echo up; wait')
    child.stdout?.resume()
    while (readPids(join(parent, 'jobs/killed')).length < 3) await new Promise((resolve) => setImmediate(resolve))
    group.kill()
    const [, signal] = await once(child, 'exit')
    assert.equal(signal, 'SIGKILL')
    await group.remove()
    assert.equal(existsSync(join(parent, 'jobs/killed')), false)
  })

  test('counts the CPU time of all it has held', async () => {
    const group = makeJobCgroup(cgroups, 'counted')
    const spin = 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'
    await outputOf(await spawnInto(group.attach, `(${spin}) & (${spin}) & wait`))
    assert.ok((group.usage().cpuMs ?? 0) > 10, String(group.usage().cpuMs))
    await group.remove()
  })

  test('of a dead worker is emptied and removed, that of a living one is left alone', async () => {
    const gone = 2 ** 22 + 1 // beyond the largest process id (PID_MAX_LIMIT)
    const [left, kept] = [gone, process.pid].map((pid) => `hivesync-${pid}-abcdef-${pidNamespace()}`) as [
      string,
      string,
    ]
    for (const name of [left, kept]) mkdirSync(join(parent, name, 'slot-0-1'), { recursive: true })
    const group = makeJobCgroup(
      { ...cgroups, hierarchies: [{ version: 2, folder: join(parent, left), controllers: [] }] },
      'slot-0-1',
    )
    const child = await spawnInto(group.attach, 'sleep 1000')
    const ended = once(child, 'exit')
    sweep(parent)
    await ended
    await group.remove() // the kernel may hold a group for a moment after its last process
    sweep(parent)
    assert.deepEqual(
      listFolders(parent).filter((name) => name.startsWith('hivesync-')),
      [kept],
    )
    removeTree(join(parent, kept))
  })
})

describe('cgroup v2 with controllers', { skip: skipLimits }, () => {
  let sandbox: Sandbox
  before(async () => {
    sandbox = await openSandbox({ slots: 2 })
  })
  after(() => sandbox.close())

  test('is found, and named by what it holds', () => {
    const named = sandbox.layers.filter((layer) => layer.startsWith('cgroup'))
    assert.deepEqual(named, ['cgroup-v2-memory', 'cgroup-v2-pids', 'cgroup-v2-cpu'])
    assert.equal(sandbox.layers.includes('rss-watchdog'), false)
  })

  test('ends the whole job by its memory limit, and the receipt says so', async () => {
    const eat = 'head -c 200M /dev/zero | tail; echo survived'
    const result = await runJob(sandbox, shell(eat), { limits: { memoryBytes: 64 * MIB } })
    assert.deepEqual([result.receipt.killed, result.exitCode, result.output], ['memory', null, ''])
    const peak = result.receipt.peakMemoryBytes ?? 0
    assert.ok(peak > 32 * MIB && peak <= 64 * MIB, String(peak))
  })

  test('counts what lies in the job’s own folders as its memory', async () => {
    const fill = 'head -c 60M /dev/zero > /job/f && echo filled'
    const limits = { memoryBytes: 32 * MIB, diskBytes: 64 * MIB }
    const result = await runJob(sandbox, shell(fill), { limits })
    assert.deepEqual([result.receipt.killed, result.output], ['memory', ''])
  })

  test('counts tasks, CPU time and memory for the receipt', async () => {
    const { receipt } = await runJob(sandbox, shell('sleep 0.5 & sleep 0.5 & head -c 8M /dev/zero | wc -c; wait'))
    assert.equal(receipt.killed, null)
    assert.ok((receipt.peakPids ?? 0) >= 5, String(receipt.peakPids)) // bubblewrap twice, the shell, two sleeps
    assert.ok((receipt.cpuMs ?? 0) > 0 && (receipt.peakMemoryBytes ?? 0) > 100_000, JSON.stringify(receipt))
  })

  test('leaves no group behind', async () => {
    const own = await openSandbox({ slots: 1 })
    await runJob(own, shell('(setsid sleep 1000 &); exit 0'))
    await own.close()
    const folders = [mount, join(mount, WORKER_LEAF)].flatMap(listFolders)
    const ours = folders.filter((name) => name.startsWith(`hivesync-${process.pid}-`))
    assert.equal(ours.length, 1, ours.join()) // of the sandbox that is still open
  })

  test('that was delegated to an ordinary user holds the limits of that user’s jobs', async () => {
    const group = join(mount, `delegated-${process.pid}`)
    mkdirSync(group)
    for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads'])
      chownSync(join(group, file), UID, UID)
    const script = `
const { openSandbox } = await import(${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))})
const { proveIsolation } = await import(${JSON.stringify(join(import.meta.dirname, 'self-test.ts'))})
await using sandbox = await openSandbox({ slots: 2 })
const report = await proveIsolation(sandbox)
console.log(JSON.stringify({ layers: sandbox.layers, level: report.level, open: report.checks.filter((c) => !c.blocked) }))`
    const { setpriv } = requireTools()
    const user = [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--bounding-set=-all', '--inh-caps=-all']
    const words = [setpriv, ...user, process.execPath, '--input-type=module', '-e', script]
    const enter = `echo $$ > ${group}/cgroup.procs && exec "$@"`
    const done = spawnSync('/bin/sh', ['-c', enter, 'sh', ...words], {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin' },
      encoding: 'utf8',
    })
    const report = JSON.parse(done.stdout.trim().split('\n').at(-1) || '{}')
    assert.deepEqual(report.open, [], done.stdout + done.stderr)
    assert.equal(report.level, 'full')
    assert.deepEqual(report.layers.slice(3), ['cgroup-v2-memory', 'cgroup-v2-pids', 'cgroup-v2-cpu'])
    assert.deepEqual(listFolders(group), [WORKER_LEAF])
    await removeWithRetries(join(group, WORKER_LEAF))
    await removeWithRetries(group)
  })
})

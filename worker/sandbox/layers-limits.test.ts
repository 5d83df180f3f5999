import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Layers, layersOf, openState, runLayers, spawnLayers } from './altered-launch.ts'
import { readKey } from './cgroup-folders.ts'
import { type Cgroups, type Controller, type JobCgroup, makeJobCgroup, openCgroups } from './cgroups.ts'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import type { SandboxState } from './state.ts'
import { hasPython, LIMITS, runJob, shell } from './testing.ts'
import { type Excess, watch } from './watchdog.ts'

// Memory, tasks and CPU time are each held by more than one layer. Here each of them stands alone, beside none at all.

const MIB = 1024 * 1024
const python = { skip: hasPython() ? false : 'no /usr/bin/python3 on this machine' }
let state: SandboxState
let cgroups: Cgroups
before(() => {
  state = openState()
  cgroups = openCgroups(state.name, undefined)
})
after(() => state.remove(cgroups))

const fork = 'i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all'
const eat = `const held = []; for (let i = 0; i < 200; i++) held.push(Buffer.alloc(${MIB}, 1)); console.log('all')`
const spin = 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'

/** A launch whose command stands under no limits of its own (rlimits). */
function unlimited(command: readonly string[]): Layers {
  const layers = layersOf(state, { command, mounts: [{ from: process.execPath, to: '/opt/node' }] })
  return { ...layers, command: [...command] }
}

/** What the command prints in the groups of these controllers alone. */
async function runInGroups(
  controllers: readonly Controller[],
  command: readonly string[],
  when: { attached?: () => void; look?: (group: JobCgroup) => void } = {},
): Promise<string> {
  const hierarchies = cgroups.hierarchies.flatMap((each) => {
    const named = each.controllers.filter((name) => controllers.includes(name))
    return named.length === 0 ? [] : [{ ...each, controllers: named }]
  })
  const group = makeJobCgroup({ ...cgroups, hierarchies }, `alone-${controllers.join('-')}`)
  const limit = { memoryBytes: 96 * MIB, tasks: 20 }
  const attach = async (pid: number): Promise<void> => {
    await group.attach(pid)
    group.limit(limit)
    when.attached?.()
  }
  try {
    const output = await runLayers(state, unlimited(command), { attach })
    when.look?.(group)
    return output
  } finally {
    await group.remove()
  }
}

describe('control groups alone', () => {
  const skipUnless = (controller: Controller): string | false =>
    cgroups.held.has(controller) ? false : `no ${controller} controller that this user may use`

  test('the pids group ends a fork bomb without RLIMIT_NPROC and watchdog', async (t) => {
    const reason = skipUnless('pids')
    if (reason !== false) return t.skip(reason)
    assert.equal(await runLayers(state, unlimited(shell(fork))), 'all')
    const output = await runInGroups(['pids'], shell(fork))
    assert.equal(output.includes('all'), false, output)
    assert.match(output, /fork/i)
  })

  test('the memory group ends a memory bomb without watchdog', async (t) => {
    const reason = skipUnless('memory')
    if (reason !== false) return t.skip(reason)
    const command = ['/opt/node', '-e', eat]
    assert.equal(await runLayers(state, unlimited(command)), 'all')
    let kills = 0
    const output = await runInGroups(['memory'], command, {
      look(group) {
        kills = group.usage().oomKills
      },
    })
    assert.equal(output.includes('all'), false, output)
    assert.ok(kills > 0)
  })

  test('the memory group counts what belongs to no process and lies in no folder', python, async (t) => {
    const reason = skipUnless('memory')
    if (reason !== false) return t.skip(reason)
    await using sandbox = await openSandbox({ slots: 1 })
    const hold = `import os
for name in range(3):
    fd = os.memfd_create(str(name))
    for _ in range(60): os.write(fd, bytes(1 << 20))
print('all')`
    const result = await runJob(sandbox, ['/usr/bin/python3', '-c', hold], { limits: { memoryBytes: 96 * MIB } })
    assert.deepEqual([result.receipt.killed, result.output], ['memory', ''])
  })

  test('the cpu group gives a job one core, and the kernel holds what it gives', async (t) => {
    const reason = skipUnless('cpu')
    if (reason !== false) return t.skip(reason)
    const { version, folder } =
      cgroups.hierarchies.find(({ controllers }) => controllers.includes('cpu')) ?? assert.fail()
    const group = join(folder, 'alone-cpu')
    const [file, oneCore, tenth] =
      version === 1 ? ['cpu.cfs_quota_us', '100000', '10000'] : ['cpu.max', '100000 100000', '10000 100000']
    let held = ''
    let throttled: number | null = null
    const attached = (): void => {
      held = readFileSync(join(group, file), 'latin1').trim()
      // A busy machine may give no job more than a core: a tenth it does.
      writeFileSync(join(group, file), tenth)
    }
    const look = (): void => {
      throttled = readKey(group, 'cpu.stat', 'nr_throttled')
    }
    await runInGroups(['cpu'], shell(`(${spin}) & (${spin}) & (${spin}) & wait`), { attached, look })
    assert.equal(held, oneCore)
    assert.ok((throttled ?? 0) > 0, `${throttled} periods were cut short`)
  })
})

describe('the watchdog alone', () => {
  let sandbox: Sandbox
  before(async () => {
    sandbox = await openSandbox({ slots: 1, cgroupParent: {} })
  })
  after(() => sandbox.close())

  test('is named where no groups are used', () => {
    assert.equal(sandbox.layers.includes('rss-watchdog'), true)
    assert.deepEqual(
      sandbox.layers.filter((layer) => layer.startsWith('cgroup')),
      [],
    )
  })

  test('ends a memory bomb, in the heap, in the job’s folders and in files without content', async () => {
    const mounts = [{ from: process.execPath, to: '/opt/node' }]
    const heap = await runJob(sandbox, ['/opt/node', '-e', eat], { mounts, limits: { memoryBytes: 96 * MIB } })
    assert.equal(heap.receipt.killed, 'memory')
    const fill = 'head -c 30M /dev/zero > /job/f; sleep 60'
    const files = await runJob(sandbox, shell(fill), { limits: { memoryBytes: 16 * MIB } })
    assert.equal(files.receipt.killed, 'memory')
    const inodes = 'i=0; while :; do i=$((i+1)); : > /job/$i; done'
    const empty = await runJob(sandbox, shell(inodes), { limits: { memoryBytes: 8 * MIB } })
    assert.equal(empty.receipt.killed, 'memory')
  })

  test('has no memory to miss: what belongs to no process and lies in no folder cannot be had', python, async () => {
    const hold = (make: string): string[] => [
      '/usr/bin/python3',
      '-c',
      `import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
try:
    ${make}
    print('open')
except OSError as error:
    print(error.strerror)`,
    ]
    const anonymous = hold("os.memfd_create('x')")
    const segment = hold("if libc.shmget(0, 1 << 20, 0o1600) < 0: raise OSError(ctypes.get_errno(), 'refused')")
    assert.equal((await runJob(sandbox, anonymous)).output, 'Operation not permitted\n')
    assert.equal((await runJob(sandbox, segment)).output, 'refused\n')
    if (!cgroups.held.has('memory')) return
    await using counted = await openSandbox({ slots: 1 })
    for (const command of [anonymous, segment]) assert.equal((await runJob(counted, command)).output, 'open\n')
  })

  test('ends what several processes spend of CPU time together, each of them below its own limit', async () => {
    const forever = 'while :; do :; done'
    const script = `(${forever}) & (${forever}) & (${forever}) & wait`
    const { receipt } = await runJob(sandbox, shell(script), { limits: { cpuSeconds: 1 } })
    assert.equal(receipt.killed, 'cpu')
  })

  test('sees tasks beyond their limit without RLIMIT_NPROC', async () => {
    const child = spawnLayers(
      state,
      unlimited(shell('i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; wait')),
    )
    const excess = Promise.withResolvers<Excess>()
    const nothing: JobCgroup = makeJobCgroup({ hierarchies: [], held: new Set(), layers: [] }, 'none')
    const watching = watch({
      ...{ pid: child.pid ?? 0, initPid: () => undefined, places: [], cgroup: nothing, held: new Set<Controller>() },
      limits: { memoryBytes: LIMITS.memoryBytes, tasks: 20, cpuSeconds: LIMITS.cpuSeconds },
      onExcess: excess.resolve,
      onFailure: excess.reject,
    })
    assert.equal(await excess.promise, 'pids')
    const { peakPids } = watching.stop()
    assert.ok((peakPids ?? 0) > 20)
    const gone = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await gone
  })
})

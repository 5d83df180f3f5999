import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  isRunning,
  type Layers,
  layersOf,
  openState,
  runLayers,
  sharing,
  spawnLayers,
  without,
} from './altered-launch.ts'
import { launchScript } from './launch-chain.ts'
import type { SandboxMount } from './spec.ts'
import type { SandboxState } from './state.ts'
import { findProcesses, hasPython, shell } from './testing.ts'

// Each layer of the sandbox is shown to matter: with it the attempt fails, with exactly it left out the same attempt works.

const python = { skip: hasPython() ? false : 'no /usr/bin/python3 on this machine' }
const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root has users to give to jobs' }
/** A setting of the kernel; 0, which keeps nothing back, where it has no such. */
function setting(name: string): number {
  const path = `/proc/sys/kernel/${name}`
  return existsSync(path) ? Number(readFileSync(path, 'latin1')) : 0
}

let state: SandboxState
before(() => {
  state = openState()
})
after(() => state.remove({ hierarchies: [], held: new Set(), layers: [] }))

/** What the attempt prints with every layer, and with the one that `leaveOut` takes away. */
async function tryBoth(
  command: readonly string[],
  leaveOut: (layers: Layers) => Partial<Layers>,
  more: { mounts?: SandboxMount[]; env?: Record<string, string> } = {},
): Promise<{ closed: string; open: string }> {
  const layers = { ...layersOf(state, { command, mounts: more.mounts ?? [] }), env: more.env ?? {} }
  return {
    closed: await runLayers(state, layers),
    open: await runLayers(state, { ...layers, ...leaveOut(layers) }),
  }
}

/** What the kernel gives an ordinary user, unless this machine's own settings keep it back. */
const unfiltered = [
  ...['ptrace traceme', 'ptrace seize init', 'process_vm_readv init', 'add_key', 'keyctl session', 'request_key'],
  ...[
    'socket netlink audit',
    'personality',
    'modify_ldt',
    'setns',
    'name_to_handle_at',
    'clock_adjtime',
    'userfaultfd',
  ],
  ...['perf_event_open', 'ioctl TIOCSTI', 'ioctl TIOCLINUX'],
  ...(readFileSync('/proc/net/protocols', 'latin1').includes('AF_VSOCK') ? ['socket AF_VSOCK'] : []),
  ...(setting('io_uring_disabled') > 0 ? [] : ['io_uring_setup']),
]

test('without the seccomp program the kernel takes ptrace, io_uring, keyrings and other sockets', python, async () => {
  const names = unfiltered
  const { closed, open } = await tryBoth(
    ['/usr/bin/python3', '-u', '/opt/probe.py', '1'],
    ({ options }) => ({ options: without(options, '--seccomp', 1) }),
    { mounts: [{ from: join(import.meta.dirname, 'escape-probe.py'), to: '/opt/probe.py' }] },
  )
  for (const name of names) {
    assert.equal(closed.includes(`OPEN ${name}`), false, closed)
    assert.equal(open.includes(`OPEN ${name}`), true, open)
  }
})

test('without a network namespace a job reaches what listens on the host', async () => {
  const server = createServer((socket) => socket.end('host'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(address !== null && typeof address !== 'string')
  const script = `require('net').connect(${address.port}, '127.0.0.1').on('data', (d) => console.log('got ' + d)).on('error', (e) => console.log(e.code))`
  const { closed, open } = await tryBoth(
    ['/opt/node', '-e', script],
    ({ options }) => ({ options: sharing(options, 'net') }),
    { mounts: [{ from: process.execPath, to: '/opt/node' }] },
  )
  server.close()
  assert.equal(closed, 'ECONNREFUSED')
  assert.equal(open, 'got host')
})

test('without a process namespace a job sees the host’s processes', async () => {
  const { closed, open } = await tryBoth(shell(`ls /proc | grep -cx ${process.pid}; :`), ({ options }) => ({
    options: sharing(options, 'pid'),
  }))
  assert.equal(closed, '0')
  assert.equal(open, '1')
})

test('without an IPC namespace a job sees the host’s shared memory', async () => {
  const id = /\d+/.exec(execFileSync('ipcmk', ['-M', '4096'], { encoding: 'latin1' }))?.[0] ?? ''
  try {
    const { closed, open } = await tryBoth(
      shell(`grep -cE '^ *-?[0-9]+ +${id} ' /proc/sysvipc/shm; :`),
      ({ options }) => ({
        options: sharing(options, 'ipc'),
      }),
    )
    assert.equal(closed, '0')
    assert.equal(open, '1')
  } finally {
    execFileSync('ipcrm', ['-m', id])
  }
})

test('without a host name of its own a job knows the machine’s', async () => {
  const { closed, open } = await tryBoth(['cat', '/proc/sys/kernel/hostname'], ({ options }) => ({
    options: sharing(without(options, '--hostname', 1), 'uts'),
  }))
  assert.equal(closed, 'job')
  assert.equal(open, hostname())
})

const ownGroups = readFileSync('/proc/self/cgroup', 'latin1')
test('without a namespace of control groups a job reads the worker’s place among them', {
  skip: /:\/./.test(ownGroups) ? false : 'this process is in root groups only',
}, async () => {
  const { closed, open } = await tryBoth(['cat', '/proc/self/cgroup'], ({ options }) => ({
    options: sharing(options, 'cgroup'),
  }))
  assert.equal(/:\/./.test(closed), false, closed)
  assert.equal(/:\/./.test(open), true, open)
})

test('without --disable-userns only the filter keeps a job from making user namespaces', async () => {
  const { closed, open } = await tryBoth(shell('unshare --user true && echo made; :'), ({ options }) => ({
    options: without(without(options, '--disable-userns', 0), '--seccomp', 1),
  }))
  assert.equal(closed.includes('made'), false)
  assert.equal(open, 'made')
  const layers = layersOf(state, { command: shell('unshare --user true && echo made; :') })
  const kept = await runLayers(state, { ...layers, options: without(layers.options, '--seccomp', 1) })
  assert.equal(kept.includes('made'), false, 'the kernel’s own limit holds without the filter')
})

test('without the read-only remounts a job writes into / and /dev past every size', async () => {
  const { closed, open } = await tryBoth(
    shell('for f in /x /dev/x /etc/x; do (: > $f) 2>/dev/null && echo "wrote $f"; done; echo end'),
    ({ options }) => ({ options: without(options, '--remount-ro', 1) }),
  )
  assert.equal(closed, 'end')
  for (const path of ['/x', '/dev/x', '/etc/x']) assert.ok(open.includes(`wrote ${path}`), open)
})

test('without sizes a job fills the machine’s memory through its own folders', async () => {
  const { closed, open } = await tryBoth(
    shell(
      'for d in /dev/shm /job; do head -c 40M /dev/zero > $d/f 2>/dev/null && echo "filled $d"; rm $d/f; done; echo end',
    ),
    ({ options }) => ({ options: without(options, '--size', 1) }),
  )
  assert.equal(closed, 'end')
  assert.equal(open, 'filled /dev/shm\nfilled /job\nend')
})

test('without the limits set inside a job opens files, makes sparse ones and forks without end', async () => {
  const count = 'i=0; while [ $i -lt 120 ]; do sleep 5 & i=$((i+1)); done; echo forked; kill $(jobs -p)'
  const script = `ulimit -n; truncate -s 1T /job/f 2>/dev/null && echo sparse; (${count}) 2>/dev/null; echo end`
  const { closed, open } = await tryBoth(shell(script), () => ({ command: shell(script) }))
  assert.equal(closed, '256\nend')
  assert.match(open, /^(?!256$)\w+\nsparse\nforked\nend$/m)
})

test('without the limits set outside a job has message queues and dumps core', async () => {
  const limits = shell('grep -E "^Max (msgqueue size|core file size) " /proc/self/limits | tr -s " " | cut -d" " -f5')
  const { closed, open } = await tryBoth(limits, ({ chain }) => ({ chain: chain.slice(chain.indexOf('--') + 1) }))
  assert.deepEqual(new Set(closed.match(/\d+/g)), new Set(['0']))
  assert.notEqual(open, closed)
})

test('without a user of its own root’s job reads what is root’s', asRoot, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-layers-test-'))
  try {
    chmodSync(folder, 0o755)
    writeFileSync(join(folder, 'secret'), 'only root', { mode: 0o600 })
    const { closed, open } = await tryBoth(
      shell('cat /opt/secret 2>/dev/null; echo end'),
      ({ chain }) => ({ chain: chain.slice(chain.lastIndexOf('--') + 1) }),
      { mounts: [{ from: join(folder, 'secret'), to: '/opt/secret' }] },
    )
    assert.equal(closed, 'end')
    assert.equal(open, 'only rootend')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('with an environment at launch a job reads it from process 1, whatever --clearenv does', async () => {
  const command = shell('tr "\\0" "\\n" < /proc/1/environ; env')
  const layers = layersOf(state, { command })
  assert.equal((await runLayers(state, layers)).includes('canary'), false)
  const open = await runLayers(state, { ...layers, env: { WORKER_SECRET: 'canary' } })
  assert.ok(open.includes('WORKER_SECRET=canary'))
})

test('without --clearenv the job has the launcher’s environment', async () => {
  const env = { WORKER_SECRET: 'canary' }
  const leaveOut = ({ options }: Layers) => ({ options: without(options, '--clearenv', 0) })
  const { closed, open } = await tryBoth(['env'], leaveOut, { env })
  assert.equal(closed.includes('canary'), false)
  assert.ok(open.includes('canary'))
})

test('without --new-session the job belongs to the session of a terminal of the host', async () => {
  const { closed, open } = await tryBoth(shell('cut -d" " -f6 /proc/self/stat'), ({ options }) => ({
    options: without(options, '--new-session', 0),
  }))
  assert.notEqual(closed, '0')
  assert.equal(open, '0')
})

test('with its options as arguments a job reads the host’s paths from the command line of process 1', async () => {
  const layers = layersOf(state, { command: shell('tr "\\0" " " < /proc/1/cmdline') })
  assert.equal((await runLayers(state, layers)).includes(state.etc), false)
  const told = launchScript({ bwrap: '/usr/bin/bwrap', withStdin: false, withArchive: false, command: layers.command })
  const script = told.replace("'--args' '5'", layers.options.map((option) => `'${option}'`).join(' '))
  const child = spawnLayers(state, layers, script)
  let open = ''
  child.stdout?.on('data', (chunk) => (open += chunk))
  await new Promise((resolve) => child.once('close', resolve))
  assert.ok(open.includes(state.etc), open)
})

test('without the covers over its memory a job writes process 1, which ties its life to the worker’s', async () => {
  const { closed, open } = await tryBoth(
    shell('for f in /proc/1/mem /proc/1/task/1/mem; do (: <> $f) 2>/dev/null && echo $f; done; echo end'),
    ({ options }) => ({ options: options.toSpliced(options.indexOf('/proc/1/mem') - 2, 6) }),
  )
  assert.equal(closed, 'end')
  assert.equal(open, '/proc/1/mem\n/proc/1/task/1/mem\nend')
})

test('without --die-with-parent a job outlives its launcher', async () => {
  const survivors = async (change: (layers: Layers) => Layers, mark: string): Promise<number> => {
    const layers = layersOf(state, { command: shell(`echo up; sleep ${mark}`) })
    const child = spawnLayers(state, change(layers))
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    while (findProcesses(`sleep\0${mark}`).length === 0) await new Promise((resolve) => setImmediate(resolve))
    const [job] = findProcesses(`sleep\0${mark}`).map(Number)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    // Long enough for a death that is on its way; nothing else would end this sleep.
    for (let turn = 0; turn < 2000 && job !== undefined && isRunning(job); turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const alive = findProcesses(`sleep\0${mark}`)
    for (const pid of alive) process.kill(Number(pid), 'SIGKILL')
    return alive.length
  }
  assert.equal(await survivors((layers) => layers, `8${process.pid}.5`), 0)
  const untied = (layers: Layers): Layers => ({ ...layers, options: without(layers.options, '--die-with-parent', 0) })
  assert.equal(await survivors(untied, `8${process.pid}.6`), 1)
})

test('without groups and watchdog a job takes what memory there is', async () => {
  const eat = `const held = []; for (let i = 0; i < 300; i++) held.push(Buffer.alloc(1048576, 1)); console.log('all')`
  const layers = layersOf(state, {
    command: ['/opt/node', '-e', eat],
    mounts: [{ from: process.execPath, to: '/opt/node' }],
  })
  assert.equal(await runLayers(state, layers), 'all') // limits.test.ts shows both ending it
})

test('a vector cut short at any option runs nothing', async () => {
  const layers = layersOf(state, { command: shell('echo ran') })
  const { options } = layers
  assert.equal(await runLayers(state, layers), 'ran')
  const cuts = Array.from({ length: options.length - 1 }, (_, at) => at).filter((at) => options[at]?.startsWith('--'))
  for (const at of cuts) {
    const output = await runLayers(state, { ...layers, options: options.slice(0, at) })
    assert.equal(output.includes('ran'), false, `cut at ${at}`)
  }
})

test('a script cut short anywhere runs nothing', async () => {
  const layers = layersOf(state, { command: ['/bin/echo', 'ran'] })
  const told = launchScript({ bwrap: '/usr/bin/bwrap', withStdin: false, withArchive: false, command: layers.command })
  for (let at = 1; at < told.length - 1; at += 23) {
    const child = spawnLayers(state, layers, `${told.slice(0, at)}`)
    let output = ''
    child.stdout?.on('data', (chunk) => (output += chunk))
    await new Promise((resolve) => setImmediate(resolve))
    child.kill('SIGTERM')
    await new Promise((resolve) => child.once('close', resolve))
    assert.equal(output, '', told.slice(0, at))
  }
})

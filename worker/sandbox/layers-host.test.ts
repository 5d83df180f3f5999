import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Layers, layersOf, openState, runLayers, sharing, without } from './altered-launch.ts'
import { closingChain } from './inherited.ts'
import { requireTools } from './prerequisites.ts'
import type { SandboxMount } from './spec.ts'
import type { SandboxState } from './state.ts'
import { shell } from './testing.ts'

// What a job reaches of its host, as layers.test.ts does it: with every layer nothing, with exactly one left out what it keeps away.

const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root: what is kept away is not this user’s to reach' }
const tools = requireTools()
let state: SandboxState
let folder: string
before(() => {
  state = openState()
  folder = mkdtempSync(join(tmpdir(), 'hivesync-layers-host-test-'))
  chmodSync(folder, 0o755)
})
after(async () => {
  await state.remove({ hierarchies: [], held: new Set(), layers: [] })
  rmSync(folder, { recursive: true })
})

function put(name: string, text: string, mode: number): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

/** The chain without the step to a user of the slot's own. */
const asWorker = ({ chain }: Layers): string[] => chain.slice(chain.lastIndexOf('--') + 1)

/** The options without what makes and seals a namespace of users. */
function withoutUsers(options: readonly string[]): string[] {
  const named = ['--unshare-user', '--disable-userns', '--unshare-all'].reduce(
    (left, name) => without(left, name, 0),
    [...options],
  )
  const shared = ['--uid', '--gid'].reduce((left, name) => without(left, name, 1), named)
  return [...['net', 'pid', 'ipc', 'uts', 'cgroup'].map((name) => `--unshare-${name}`), ...shared]
}

/** The options with all of the machine's files in the place of the job's own. */
const withHostFiles = (options: readonly string[]): string[] => [
  ...options.slice(0, options.indexOf('--dir')).map((option) => (option === '/job' ? '/' : option)),
  ...['--bind', '/', '/', '--proc', '/proc', '--dev', '/dev'],
]

test('without a view of its own a job reads what everybody of the machine may read', async () => {
  const secret = put('notes', 'of the host', 0o644)
  const layers = layersOf(state, {
    command: shell(`cat ${secret} 2>/dev/null; ls -d ${state.folder} 2>/dev/null; echo end`),
  })
  assert.equal(await runLayers(state, layers), 'end')
  const open = await runLayers(state, { ...layers, options: withHostFiles(layers.options) })
  assert.equal(open, `of the host${state.folder}\nend`)
})

test('without read-only mounts a job changes what it was given to read', async () => {
  const input = put('input', 'as given\n', 0o666)
  const command = shell('(echo changed > /opt/input) 2>/dev/null; cat /opt/input')
  const layers = layersOf(state, { command, mounts: [{ from: input, to: '/opt/input' }] })
  assert.equal(await runLayers(state, layers), 'as given')
  const at = layers.options.indexOf(input) - 1
  assert.equal(await runLayers(state, { ...layers, options: layers.options.with(at, '--bind') }), 'changed')
})

test('without a /dev of its own a job reads and fills the machine’s shared memory', async () => {
  const name = `/dev/shm/hivesync-test-${process.pid}`
  writeFileSync(name, 'of the host', { mode: 0o644 })
  try {
    const layers = layersOf(state, { command: shell(`cat ${name} 2>/dev/null; ls -d /dev/kmsg 2>/dev/null; echo end`) })
    assert.equal(await runLayers(state, layers), 'end')
    const { options } = layers
    const device = options.indexOf('--dev')
    const shared = options.indexOf('/dev/shm')
    const open = options
      .toSpliced(options.lastIndexOf('/dev') - 1, 2) // bubblewrap takes all devices out of what it makes read-only
      .toSpliced(shared - 5, 6)
      .toSpliced(device, 2, '--dev-bind', '/dev', '/dev')
    assert.equal(await runLayers(state, { ...layers, options: open }), 'of the host/dev/kmsg\nend')
  } finally {
    rmSync(name)
  }
})

test('without the masks a job reads how the machine was started, which no build needs', async () => {
  const layers = layersOf(state, { command: shell('cat /proc/cmdline 2>/dev/null | wc -c') })
  assert.equal(await runLayers(state, layers), '0')
  const at = layers.options.indexOf('/proc/cmdline') - 2
  const open = await runLayers(state, { ...layers, options: layers.options.toSpliced(at, 3) })
  assert.ok(Number(open) > 0, open)
})

test(
  'without a namespace of users root’s capabilities hold inside and make what is read-only writable',
  asRoot,
  async () => {
    const given = put('given', 'as given\n', 0o600)
    const script = '(mount -o remount,rw,bind /opt/given && echo changed > /opt/given) 2>/dev/null; cat /opt/given'
    const layers = layersOf(state, { command: shell(script), mounts: [{ from: given, to: '/opt/given' }] })
    // The filter and the user of the slot forbid it too: both are left out, so that the namespace stands alone.
    const alone = { ...layers, chain: asWorker(layers), options: without(layers.options, '--seccomp', 1) }
    assert.equal(await runLayers(state, alone), 'as given')
    assert.equal(await runLayers(state, { ...alone, options: withoutUsers(alone.options) }), 'changed')
  },
)

test(
  'without a user of its own root’s job may set what the kernel runs at a crash, in whatever namespace',
  asRoot,
  async () => {
    const layers = layersOf(state, {
      command: shell('(: >> /proc/sys/kernel/core_pattern) 2>/dev/null && echo open; echo end'),
    })
    assert.equal(await runLayers(state, layers), 'end')
    assert.equal(await runLayers(state, { ...layers, chain: asWorker(layers) }), 'open\nend')
  },
)

test(
  'without no-new-privs a setuid program makes the launcher root, and without the empty bounding set an able one',
  asRoot,
  async () => {
    const program = join(folder, 'setuid')
    copyFileSync('/bin/cat', program)
    chmodSync(program, 0o4755)
    const layers = layersOf(state, { command: ['true'] })
    const tell = `{ ${program} /proc/self/status; exit; }\n`
    const rights = async (...left: string[]): Promise<[string | undefined, boolean]> => {
      const chain = left.reduce((kept, option) => without(kept, option, 0), layers.chain)
      const status = await runLayers(state, { ...layers, chain }, { script: tell })
      return [/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1], /^CapEff:\s+0+$/m.test(status)]
    }
    assert.deepEqual(await rights(), ['61050', true])
    assert.deepEqual(await rights('--no-new-privs'), ['0', true])
    assert.deepEqual(await rights('--no-new-privs', '--bounding-set=-all'), ['0', false])
  },
)

test('without a process namespace a job ends what else runs as its user', asRoot, async () => {
  const layers = layersOf(state, { command: ['true'] })
  const killed = async (leaveOut: (options: readonly string[]) => string[]): Promise<boolean> => {
    const other = spawn(tools.setpriv, [
      '--reuid=61050',
      '--regid=61050',
      '--clear-groups',
      'sh',
      '-c',
      'echo up; exec sleep 1000',
    ])
    const ended = once(other, 'exit')
    await once(other.stdout, 'data')
    const command = shell(`kill -9 ${other.pid} 2>/dev/null; echo end`)
    await runLayers(state, { ...layers, command, options: leaveOut(layers.options) })
    // Signals of one process arrive in order: had the job's not come first, this one would.
    other.kill('SIGTERM')
    const [, signal] = await ended
    return signal === 'SIGKILL'
  }
  assert.equal(await killed((options) => [...options]), false)
  assert.equal(await killed((options) => sharing(options, 'pid')), true)
})

test('without a network namespace a job reaches the host’s abstract unix sockets', async () => {
  const name = `hivesync-layers-test-${process.pid}`
  const server = createServer((socket) => socket.end('host'))
  await new Promise<void>((resolve) => server.listen(`\0${name}`, resolve))
  const script = `require('net').connect('\\0${name}').on('data', (d) => console.log('got ' + d)).on('error', (e) => console.log(e.code))`
  const mounts: SandboxMount[] = [{ from: process.execPath, to: '/opt/node' }]
  const layers = layersOf(state, { command: ['/opt/node', '-e', script], mounts })
  const closed = await runLayers(state, layers)
  const open = await runLayers(state, { ...layers, options: sharing(layers.options, 'net') })
  server.close()
  assert.deepEqual([closed, open], ['ECONNREFUSED', 'got host'])
})

test('without the first stage of the chain a job reads what the worker was started with open', {
  skip: existsSync('/bin/bash') ? false : 'no bash here, which a worker with such descriptors needs',
}, async () => {
  const layers = layersOf(state, { command: ['/bin/bash', '-c', '(cat <&12) 2>/dev/null; echo end'] })
  const [first = '', ...rest] = layers.chain
  const given = ['/bin/bash', '-c', `exec 12<${put('open', 'of the host\n', 0o600)}; exec "$@"`, 'bash']
  const closing = closingChain([12], [first, ...rest])
  assert.equal(await runLayers(state, { ...layers, chain: [...given, ...closing] }), 'end')
  assert.equal(await runLayers(state, { ...layers, chain: [...given, ...layers.chain] }), 'of the host\nend')
})

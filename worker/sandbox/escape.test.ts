import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openSandbox } from './sandbox.ts'
import { proveIsolation } from './self-test.ts'
import type { Sandbox, SandboxSpec } from './spec.ts'
import { hasPython, LIMITS, runJob, shell } from './testing.ts'

const python = { skip: hasPython() ? false : 'no /usr/bin/python3 on this machine' }
const PROBE = join(import.meta.dirname, 'escape-probe.py')
let sandbox: Sandbox
before(async () => {
  sandbox = await openSandbox({ slots: 2 })
})
after(() => sandbox.close())

test('the sandbox proves its own isolation: every row of the self test is blocked', async () => {
  const report = await proveIsolation(sandbox)
  assert.deepEqual(
    report.checks.filter((check) => !check.blocked),
    [],
  )
  assert.ok(report.checks.length > 25)
  const isHeld = ['memory', 'pids'].every((name) => report.layers.some((layer) => layer.endsWith(`-${name}`)))
  assert.equal(report.level, isHeld ? 'full' : 'reduced')
})

test('a hole in any row makes the level none', async () => {
  const leaky: Sandbox = { ...sandbox, run: (spec) => sandbox.run({ ...spec, env: { HIVESYNC_SECRET: 'x' } }) }
  const report = await proveIsolation(leaky)
  assert.equal(report.level, 'none')
  assert.deepEqual(
    report.checks.filter((check) => !check.blocked).map((check) => check.name),
    ['environment of the job'],
  )
})

test('no system call of the escape table gets through', python, async () => {
  const { output, exitCode } = await runJob(sandbox, ['/usr/bin/python3', '/opt/probe.py', String(process.pid)], {
    mounts: [{ from: PROBE, to: '/opt/probe.py' }],
  })
  assert.equal(exitCode, 0, output)
  const rows = output.trim().split('\n')
  assert.equal(rows.at(-1), 'END')
  assert.ok(rows.length > 45)
  assert.deepEqual(
    rows.filter((row) => row.startsWith('OPEN')),
    [],
  )
})

test('a call through the i386 gate kills the process', python, async () => {
  // mov eax, 20 (getpid); int 0x80; ret
  const script = `import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())`
  const { exitCode, output } = await runJob(sandbox, ['/usr/bin/python3', '-c', script])
  assert.equal(exitCode, 128 + 31, output) // SIGSYS
})

test('nothing of the host’s files is reached through /proc, and nothing of its kernel that it keeps from people', async () => {
  const paths = [
    ...[
      '/proc/1/root/etc/hostname',
      '/proc/self/root/etc/shadow',
      '/proc/1/cwd/etc/hostname',
      '/proc/kcore',
      '/proc/kmsg',
    ],
    ...[
      '/proc/keys',
      '/proc/kallsyms',
      '/proc/config.gz',
      '/proc/timer_list',
      '/proc/sched_debug',
      '/proc/1/mem',
      '/sys/kernel',
      '/proc/version',
    ],
  ]
  const look = paths.map((path) => `[ -n "$(head -c 1 ${path} 2>/dev/null | tr -d '\\0')" ] && echo ${path}`).join('; ')
  const { output } = await runJob(sandbox, shell(`${look}; echo end`))
  assert.equal(output, '/proc/version\nend\n') // the one that everybody may read shows that the others were tried
})

test('a job links nothing it was given into its own folders, and what it marks setuid there gives it nothing', async () => {
  const script = `ln /opt/probe /job/hard 2>/dev/null && echo linked
cp /usr/bin/id /tmp/id && chmod 6755 /tmp/id && /tmp/id -u && mkfifo /tmp/fifo && echo made
mknod /tmp/block b 8 0 2>/dev/null && echo block; mknod /tmp/char c 1 5 2>/dev/null && echo char; echo end`
  const { output } = await runJob(sandbox, shell(script), { mounts: [{ from: PROBE, to: '/opt/probe' }] })
  assert.equal(output, '1000\nmade\nend\n')
})

test('sockets reach neither the host nor the outside', async () => {
  const connections: unknown[] = []
  const server = createServer((socket) => {
    connections.push(1)
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(address !== null && typeof address !== 'string')
  const script = `for (const host of ['127.0.0.1', '192.0.2.1', '::1'])
    require('net').connect(${address.port}, host).on('connect', () => console.log('reached', host)).on('error', (e) => console.log(e.code))`
  const { output } = await runJob(sandbox, ['/opt/node', '-e', script], {
    mounts: [{ from: sandbox.node, to: '/opt/node' }],
  })
  server.close()
  assert.deepEqual(connections, [])
  assert.equal(output.includes('reached'), false)
  assert.equal(output.trim().split('\n').length, 3)
})

test('descriptors this process has open do not reach the job', async () => {
  const fd = openSync('/etc/hostname', 'r')
  const { output } = await runJob(sandbox, shell('ls -l /proc/$$/fd'))
  assert.ok(fd > 2)
  assert.equal(output.includes('hostname'), false)
  const beyond = [...output.matchAll(/ (\d+) ->/g)].map((match) => Number(match[1])).filter((number) => number > 2)
  assert.deepEqual(
    beyond.filter((number) => number !== 10), // dash keeps its script there
    [],
  )
})

test('the job is an unprivileged user of its own, on a host called job', async () => {
  const { output } = await runJob(
    sandbox,
    shell('id -un; id -u; hostname; pwd; echo "$HOME $LANG"; cat /etc/passwd | wc -l'),
  )
  assert.deepEqual(output.trim().split('\n'), ['job', '1000', 'job', '/job', '/job C.UTF-8', '3'])
})

test('the limits of a spec cannot smuggle options or cover the sandbox', async () => {
  const refused: Omit<SandboxSpec, 'limits'>[] = [
    { command: ['true', 'a\0--bind\0/\0/host'] },
    { command: ['true'], env: { 'A B': 'x' } },
    { command: ['true'], env: { A: 'x\0--share-net' } },
    { command: ['true'], mounts: [{ from: '/etc', to: '/etc' }] },
    { command: ['true'], mounts: [{ from: '/etc', to: '/usr/share' }] },
    { command: ['true'], mounts: [{ from: '/etc', to: '/job/../proc' }] },
    { command: ['true'], mounts: [{ from: 'etc', to: '/opt/etc' }] },
    { command: [] },
  ]
  for (const spec of refused)
    await assert.rejects(sandbox.run({ limits: LIMITS, ...spec }), RangeError, JSON.stringify(spec))
})

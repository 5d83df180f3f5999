import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import { runJob, shell } from './testing.ts'

let sandbox: Sandbox
let server: Server
let folder: string
let socket: string
const heard: string[] = []
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hivesync-egress-test-'))
  socket = join(folder, 'egress.sock')
  // What the worker's proxy is to the sandbox: it answers a line, in upper case, when the other side has finished.
  server = createServer({ allowHalfOpen: true }, (client) => {
    let text = ''
    client.on('data', (chunk) => (text += chunk))
    client.on('end', () => {
      heard.push(text)
      client.end(text.toUpperCase())
    })
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  sandbox = await openSandbox({ slots: 1 })
})
after(async () => {
  await sandbox.close()
  server.close()
  rmSync(folder, { recursive: true })
})

const ask = (text: string): string =>
  `const s = require('net').connect({ port: 8118, host: '127.0.0.1', allowHalfOpen: true })
s.on('error', (e) => console.log(e.code)).end(${JSON.stringify(text)}); s.pipe(process.stdout)`
const mounts = (): { from: string; to: string }[] => [{ from: sandbox.node, to: '/opt/node' }]

test('bytes reach the worker’s socket and come back, half-closed connections included', async () => {
  const { output, exitCode } = await runJob(sandbox, ['/opt/node', '-e', ask('hello out there')], {
    egressSocket: socket,
    mounts: mounts(),
  })
  assert.equal(output, 'HELLO OUT THERE')
  assert.equal(exitCode, 0)
  assert.deepEqual(heard, ['hello out there'])
})

test('without an egress socket nothing listens', async () => {
  const { output } = await runJob(sandbox, ['/opt/node', '-e', ask('x')], { mounts: mounts() })
  assert.equal(output.trim(), 'ECONNREFUSED')
})

test('the command’s exit code, signal, stdin and archive pass through the forwarder', async () => {
  const code = await runJob(sandbox, shell('cat; exit 9'), { egressSocket: socket, stdin: Buffer.from('in') })
  assert.equal(code.exitCode, 9)
  assert.equal(code.output, 'in')
  assert.equal((await runJob(sandbox, shell('kill -TERM $$'), { egressSocket: socket })).exitCode, 143)
  let archived = ''
  await runJob(sandbox, shell('echo tar >&3'), {
    egressSocket: socket,
    limits: { archiveBytes: 100 },
    onArchive: (chunk) => (archived += chunk),
  })
  assert.equal(archived, 'tar\n')
  assert.notEqual((await runJob(sandbox, shell('echo tar >&3'), { egressSocket: socket })).exitCode, 0)
  assert.equal((await runJob(sandbox, ['no-such-program'], { egressSocket: socket })).exitCode, 127)
})

test('the limit on tasks is the job’s own, the forwarder beside it', async () => {
  const result = await runJob(sandbox, shell('sleep 0.1 & sleep 0.1 & wait; echo ok'), {
    egressSocket: socket,
    limits: { pids: 4 },
  })
  assert.equal(result.output, 'ok\n')
})

test('the socket is the only one inside, and outside the network stays shut', async () => {
  const script = `const net = require('net')
for (const options of [{ port: 80, host: '192.0.2.1' }, { port: 53, host: '127.0.0.53' }])
  net.connect(options).on('connect', () => console.log('reached')).on('error', (e) => console.log(e.code))`
  const { output } = await runJob(sandbox, ['/opt/node', '-e', script], { egressSocket: socket, mounts: mounts() })
  assert.deepEqual(output.trim().split('\n').sort(), ['ECONNREFUSED', 'ENETUNREACH'])
  const look = `test -S /run/hivesync/egress.sock && echo socket; test -e ${folder} || echo hidden; ls /run`
  const found = await runJob(sandbox, shell(look), { egressSocket: socket })
  assert.equal(found.output, 'socket\nhidden\nhivesync\n')
})

test('as root the socket is lent to the job’s user and nobody else, and only out of a closed folder', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root: else job and worker are one user')
  const seen: string[] = []
  await runJob(sandbox, ['echo', 'up'], {
    egressSocket: socket,
    onOutput: () => {
      const { gid, mode } = statSync(folder)
      seen.push(`${gid} ${(mode & 0o777).toString(8)} ${statSync(socket).uid}`)
    },
  })
  assert.deepEqual(seen, ['61001 710 61001'])
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  chmodSync(folder, 0o711)
  await assert.rejects(runJob(sandbox, ['true'], { egressSocket: socket }), /closed to others/)
  chmodSync(folder, 0o700)
})

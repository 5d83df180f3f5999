import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { bubblewrapOptions } from './bubblewrap.ts'
import { closingChain, findInheritedDescriptors } from './inherited.ts'
import { descriptorPlan, launch } from './launch.ts'
import { launchChain } from './launch-chain.ts'
import { requireTools } from './prerequisites.ts'
import type { SandboxMount } from './spec.ts'
import { makeState, type SandboxState } from './state.ts'
import { findProcesses, hasPython, LIMITS, shell } from './testing.ts'

// Each rule of the sandbox is shown to matter: with it the attempt fails, without it the same attempt succeeds.

const python = { skip: hasPython() ? false : 'no /usr/bin/python3 on this machine' }
const tools = requireTools()
const slotUid = process.getuid?.() === 0 ? 61_050 : undefined
const plan = descriptorPlan(false)
let state: SandboxState
before(() => {
  state = makeState({ tools, slots: 1, arch: process.arch })
})
after(() => state.remove({ folders: {}, layers: [] }))

function chainFor(command: readonly string[]): [string, ...string[]] {
  return launchChain({ tools, limits: LIMITS, slotUid, argsFd: plan.args, command })
}

function optionsFor(command: readonly string[], mounts: readonly SandboxMount[] = []): string[] {
  const forwarder = { node: process.execPath, script: state.forwarder }
  return bubblewrapOptions({
    spec: { command, mounts, limits: LIMITS },
    seccompFd: plan.seccomp,
    statusFd: plan.status,
    etc: state.etc,
    forwarder,
  })
}

async function runWith(
  command: readonly string[],
  options: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const stray = findInheritedDescriptors().filter((fd) => fd > plan.status)
  // Closing them also empties the environment, which some tests are about.
  const [program, ...args] = closingChain(Object.keys(env).length === 0 ? stray : [], chainFor(command))
  const seccomp = openSync(state.seccomp, 'r')
  const child = spawn(program, args, { env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe', 'pipe', seccomp, 'pipe'] })
  let output = ''
  child.stdout?.on('data', (chunk) => (output += chunk))
  child.stderr?.on('data', (chunk) => (output += chunk))
  const gate = child.stdio[plan.args]
  assert.ok(gate !== null && gate !== undefined && 'write' in gate)
  gate.end(options.map((option) => `${option}\0`).join(''))
  await new Promise((resolve) => child.once('close', resolve))
  return output
}

/** The vector without one option and the values that follow it. */
function without(options: readonly string[], name: string, values: number): string[] {
  const kept: string[] = []
  for (let at = 0; at < options.length; at += 1) {
    if (options[at] === name) at += values
    else kept.push(String(options[at]))
  }
  assert.notEqual(kept.length, options.length, `${name} was never there`)
  return kept
}

test('without the seccomp program the kernel takes ptrace, io_uring, keyrings and other sockets', python, async () => {
  const command = ['/usr/bin/python3', '-u', '/opt/probe.py', '1']
  const options = optionsFor(command, [{ from: join(import.meta.dirname, 'escape-probe.py'), to: '/opt/probe.py' }])
  const isOpen = (output: string, name: string): boolean => output.includes(`OPEN ${name}`)
  const names = ['ptrace traceme', 'io_uring_setup', 'add_key', 'keyctl session', 'personality', 'socket AF_VSOCK']
  const filtered = await runWith(command, options)
  const unfiltered = await runWith(command, without(options, '--seccomp', 1))
  for (const name of names) {
    assert.equal(isOpen(filtered, name), false, filtered)
    assert.equal(isOpen(unfiltered, name), true, unfiltered)
  }
})

test('without the read-only remounts a job writes into / and /dev past every size', async () => {
  const command = shell('for f in /x /dev/x /etc/x; do (: > $f) 2>/dev/null && echo "wrote $f"; done; echo end')
  const options = optionsFor(command)
  assert.equal((await runWith(command, options)).trim(), 'end')
  const open = await runWith(command, without(options, '--remount-ro', 1))
  for (const path of ['/x', '/dev/x', '/etc/x']) assert.ok(open.includes(`wrote ${path}`), open)
})

test('without a network namespace a job reaches what listens on the host', async () => {
  const server = createServer((socket) => socket.end('host'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(address !== null && typeof address !== 'string')
  const script = `require('net').connect(${address.port}, '127.0.0.1').on('data', (d) => console.log('got ' + d)).on('error', (e) => console.log(e.code))`
  const command = ['/opt/node', '-e', script]
  const options = optionsFor(command, [{ from: process.execPath, to: '/opt/node' }])
  const separate = ['--unshare-ipc', '--unshare-pid', '--unshare-uts', '--unshare-cgroup-try']
  assert.equal((await runWith(command, options)).trim(), 'ECONNREFUSED')
  assert.equal((await runWith(command, [...separate, ...without(options, '--unshare-all', 0)])).trim(), 'got host')
  server.close()
})

test('with an environment at launch a job reads it from process 1, whatever --clearenv does', async () => {
  const command = shell('tr "\\0" "\\n" < /proc/1/environ; env')
  const options = optionsFor(command)
  assert.equal((await runWith(command, options)).includes('canary'), false)
  assert.ok((await runWith(command, options, { WORKER_SECRET: 'canary' })).includes('WORKER_SECRET=canary'))
})

test('without the covers over its memory a job writes process 1, which ties its life to the worker’s', async () => {
  const command = shell('for f in /proc/1/mem /proc/1/task/1/mem; do (: <> $f) 2>/dev/null && echo $f; done; echo end')
  const options = optionsFor(command)
  assert.equal((await runWith(command, options)).trim(), 'end')
  const at = options.indexOf('/proc/1/mem') - 2
  const open = await runWith(command, options.toSpliced(at, 6))
  assert.equal(open.trim(), '/proc/1/mem\n/proc/1/task/1/mem\nend')
})

test('without --clearenv and --new-session the job has the launcher’s environment and terminal session', async () => {
  const command = shell('env; cut -d" " -f6 /proc/self/stat')
  const options = optionsFor(command)
  const closed = await runWith(command, options, { WORKER_SECRET: 'canary' })
  assert.equal(closed.includes('canary'), false)
  assert.notEqual(closed.trim().split('\n').at(-1), '0')
  const open = await runWith(command, without(without(options, '--clearenv', 0), '--new-session', 0), {
    WORKER_SECRET: 'canary',
  })
  assert.ok(open.includes('canary'))
  assert.equal(open.trim().split('\n').at(-1), '0') // a session of the host
})

test('a vector cut short at any option runs nothing', async () => {
  const command = shell('echo ran')
  const options = optionsFor(command)
  assert.equal((await runWith(command, options)).trim(), 'ran')
  const cuts = Array.from({ length: options.length - 1 }, (_, at) => at).filter((at) => options[at]?.startsWith('--'))
  for (const at of cuts)
    assert.equal((await runWith(command, options.slice(0, at))).includes('ran'), false, `cut at ${at}`)
})

test('killing reaches every process even of a sandbox not tied to its launcher', async () => {
  const mark = `8${process.pid}.5`
  const command = shell(`echo up; sleep ${mark} & setsid sleep ${mark} & wait`)
  const child = launch({
    chain: chainFor(command),
    bubblewrapOptions: without(optionsFor(command), '--die-with-parent', 0),
    jobFds: ['ignore', openSync('/dev/null', 'w'), openSync('/dev/null', 'w')],
    seccompFd: openSync(state.seccomp, 'r'),
    inherited: findInheritedDescriptors(),
  })
  child.start()
  while (findProcesses(`sleep\0${mark}`).length < 2) await new Promise((resolve) => setImmediate(resolve))
  child.kill()
  await child.ended
  assert.deepEqual(findProcesses(`sleep\0${mark}`), [])
})

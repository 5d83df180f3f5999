import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import { findProcesses, LIMITS, runJob, shell } from './testing.ts'

const MIB = 1024 * 1024
let sandbox: Sandbox
before(async () => {
  sandbox = await openSandbox({ slots: 8 })
})
after(async () => {
  await sandbox.close()
  assert.deepEqual(
    readdirSync(tmpdir()).filter((name) => name.startsWith(`hivesync-${process.pid}-`)),
    [],
  )
})
const withNode = { mounts: [{ from: process.execPath, to: '/opt/node' }] }

test('a command’s output, exit code and receipt come back', async () => {
  const chunks: string[] = []
  const result = await runJob(sandbox, shell('echo out; echo err >/dev/stderr; exit 7'), {
    onOutput: (stream, chunk) => chunks.push(`${stream}:${chunk}`),
  })
  assert.equal(result.exitCode, 7)
  assert.equal(result.signal, null)
  assert.deepEqual(chunks.sort(), ['stderr:err\n', 'stdout:out\n'])
  assert.equal(result.receipt.killed, null)
  assert.equal(result.receipt.outputBytes, 8)
  assert.deepEqual(result.receipt.layers, [...sandbox.layers])
})

test('stdin reaches the command whole, and a command that does not read it is no error', async () => {
  const stdin = Buffer.alloc(3 * MIB, 'x')
  const counted = await runJob(sandbox, ['wc', '-c'], { stdin })
  assert.equal(counted.output.trim(), String(stdin.length))
  assert.equal((await runJob(sandbox, ['true'], { stdin })).exitCode, 0)
  assert.equal((await runJob(sandbox, shell('cat /dev/stdin | wc -c'))).output.trim(), '0')
})

test('the archive is a stream of its own on descriptor 3', async () => {
  const parts: Buffer[] = []
  const result = await runJob(sandbox, shell('echo data > out/file; tar -C out -cf - . >&3; echo done'), {
    onArchive: (chunk) => parts.push(chunk),
    limits: { archiveBytes: MIB },
  })
  assert.equal(result.output, 'done\n')
  const archive = Buffer.concat(parts)
  assert.equal(archive.length, result.receipt.archiveBytes)
  assert.ok(archive.includes('./file'))
})

test('a huge archive is cut at its limit and the job killed', async () => {
  let received = 0
  const result = await runJob(sandbox, shell('cat /dev/zero >&3'), {
    onArchive: (chunk) => (received += chunk.length),
    limits: { archiveBytes: 100_000 },
  })
  assert.equal(result.receipt.killed, 'archive')
  assert.equal(received, 100_000)
  assert.equal(result.receipt.archiveBytes, 100_000)
})

test('without an archive limit there is no descriptor 3', async () => {
  assert.notEqual((await runJob(sandbox, shell('echo x >&3'))).exitCode, 0)
})

test('printing forever ends the job at the cap, stdout and stderr counted together', async () => {
  const result = await runJob(sandbox, shell('yes & yes >&2'), { limits: { outputBytes: 300_000 } })
  assert.equal(result.receipt.killed, 'output')
  assert.equal(result.exitCode, null)
  assert.equal(result.signal, 'SIGKILL')
  assert.equal(result.output.length, 300_000)
})

test('exactly the output limit is allowed', async () => {
  const result = await runJob(sandbox, shell('head -c 5000 /dev/zero'), { limits: { outputBytes: 5000 } })
  assert.equal(result.receipt.killed, null)
  assert.equal(result.receipt.outputBytes, 5000)
})

test('a job that ignores every signal ends with the wall clock', async () => {
  const result = await runJob(sandbox, shell('trap "" TERM INT HUP QUIT; while :; do sleep 5; done'), {
    limits: { wallMs: 400 },
  })
  assert.equal(result.receipt.killed, 'wall')
})

test('CPU time is counted over all processes of a job', async () => {
  const spin = 'while :; do :; done'
  for (const script of [spin, `trap "" XCPU; ${spin}`, `(${spin})& (${spin})& (${spin})& wait`]) {
    const result = await runJob(sandbox, shell(script), { limits: { cpuSeconds: 1 } })
    assert.equal(result.receipt.killed, 'cpu', script)
  }
})

test('a job’s own exit 137 or 152 is its own', async () => {
  for (const code of [137, 152]) {
    const result = await runJob(sandbox, shell(`exit ${code}`))
    assert.equal(result.exitCode, code)
    assert.equal(result.receipt.killed, null)
  }
  assert.equal((await runJob(sandbox, shell('kill -9 $$'))).receipt.killed, null)
})

test('eating memory ends the job, whichever way it is eaten', async () => {
  const script = `const held = []; for (;;) held.push(Buffer.alloc(${MIB}, 1))`
  const heap = await runJob(sandbox, ['/opt/node', '-e', script], { ...withNode, limits: { memoryBytes: 128 * MIB } })
  assert.equal(heap.receipt.killed, 'memory')
  assert.ok((heap.receipt.peakMemoryBytes ?? 0) > 100 * MIB)
  const inodes = 'i=0; while :; do i=$((i+1)); : > /job/$i; done'
  const files = await runJob(sandbox, shell(inodes), { limits: { memoryBytes: 24 * MIB } })
  assert.equal(files.receipt.killed, 'memory')
})

test('forking forever meets the limit on tasks and leaves nothing behind', async () => {
  const mark = `7${process.pid}.5`
  const script = `i=0; while [ $i -lt 300 ]; do sleep ${mark} & i=$((i+1)); done; echo all`
  const result = await runJob(sandbox, shell(script), { limits: { pids: 20 } })
  assert.equal(result.output.includes('all'), false)
  assert.deepEqual(findProcesses(`sleep\0${mark}`), [])
  const bomb = await runJob(sandbox, shell('b() { b | b & }; b; sleep 30'), { limits: { pids: 20, wallMs: 1500 } })
  assert.notEqual(bomb.exitCode, 0)
})

test('the disk is as large as the limit says, one file as large as its own', async () => {
  const full = await runJob(sandbox, shell('cat /dev/zero > /job/f; wc -c < /job/f'), {
    limits: { diskBytes: 8 * MIB },
  })
  assert.match(full.output, /No space left/)
  assert.match(full.output, new RegExp(`^${8 * MIB}$`, 'm'))
  const long = await runJob(sandbox, shell('truncate -s 1T /job/f; wc -c < /job/f'), { limits: { fileBytes: MIB } })
  assert.match(long.output, /^0$/m)
})

test('daemons die with their job', async () => {
  const mark = `6${process.pid}.5`
  const script = `(setsid sleep ${mark} </dev/null >/dev/null 2>&1 &); (sh -c '(sleep ${mark} &)' &); exit 3`
  assert.equal((await runJob(sandbox, shell(script))).exitCode, 3)
  assert.deepEqual(findProcesses(`sleep\0${mark}`), [])
})

test('an abort in the middle kills everything and says canceled', async () => {
  const mark = `5${process.pid}.5`
  const abort = new AbortController()
  const result = await runJob(sandbox, shell(`sleep ${mark} & setsid sleep ${mark} & echo up; wait`), {
    signal: abort.signal,
    onOutput: () => abort.abort(),
  })
  assert.equal(result.receipt.killed, 'canceled')
  assert.deepEqual(findProcesses(`sleep\0${mark}`), [])
  const before = await runJob(sandbox, ['true'], { signal: AbortSignal.abort() })
  assert.equal(before.receipt.killed, 'canceled')
})

test('an abort at any early moment leaves no process', async () => {
  const mark = `4${process.pid}.5`
  for (let turns = 0; turns < 24; turns += 1) {
    const abort = new AbortController()
    const job = runJob(sandbox, ['sleep', mark], { signal: abort.signal })
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    abort.abort()
    assert.equal((await job).receipt.killed, 'canceled')
    assert.deepEqual(findProcesses(`sleep\0${mark}`), [])
  }
})

test('eight jobs run at once without mixing, a ninth is a mistake', async () => {
  const abort = new AbortController()
  const jobs = Array.from({ length: 8 }, (_, at) =>
    runJob(sandbox, shell(`echo ${at} > /job/me; cat /job/me /tmp/* 2>/dev/null; echo ${at} > /tmp/me; read x`), {
      stdin: Buffer.from('\n'),
      limits: { pids: 8 },
    }),
  )
  await assert.rejects(sandbox.run({ command: ['true'], limits: LIMITS, signal: abort.signal }), /slots/)
  const results = await Promise.all(jobs)
  assert.deepEqual(
    results.map((result) => result.output.trim()),
    ['0', '1', '2', '3', '4', '5', '6', '7'],
  )
})

test('a failing reader of the output ends the job with its error', async () => {
  const onOutput = (): void => {
    throw new Error('disk full')
  }
  await assert.rejects(runJob(sandbox, ['yes'], { onOutput }), /disk full/)
})

test('a mount that does not exist is an error of the sandbox, with bubblewrap’s own words', async () => {
  await assert.rejects(runJob(sandbox, ['true'], { mounts: [{ from: '/nowhere/at/all', to: '/opt/x' }] }), /nowhere/)
})

test('a command longer than the kernel takes fails that job and leaves the slot to the next', async () => {
  const own = await openSandbox({ slots: 1 })
  const openDescriptors = (): number => readdirSync('/proc/self/fd').length
  const before = openDescriptors()
  const long = Array.from({ length: 256 }, () => 'x'.repeat(16_384))
  const runs = 20
  for (let run = 0; run < runs; run += 1)
    await assert.rejects(runJob(own, ['true', ...long], { limits: { archiveBytes: 1 } }), /Argument list too long/)
  // Those of the last job may still be closing: only a descriptor lost with each job counts.
  assert.ok(openDescriptors() - before < runs / 2, `${before} descriptors became ${openDescriptors()}`)
  assert.equal((await runJob(own, ['echo', 'next'])).output, 'next\n')
  await own.close()
})

test('closing ends running jobs as canceled', async () => {
  const own = await openSandbox({ slots: 1 })
  const job = runJob(own, ['sleep', '1000'])
  await own.close()
  assert.equal((await job).receipt.killed, 'canceled')
  await assert.rejects(own.run({ command: ['true'], limits: LIMITS }), /closed/)
})

test('a link that somebody left under the name of a dead worker’s folder does not keep the sandbox from opening', async () => {
  const link = join(tmpdir(), `hivesync-${2 ** 22 + 1 + (process.pid % 1000)}-abcdef`)
  symlinkSync('/etc/hostname', link)
  try {
    await (await openSandbox({ slots: 1 })).close()
    assert.equal(readlinkSync(link), '/etc/hostname')
  } finally {
    rmSync(link)
  }
})

test('only the control groups of dead workers that this machine’s process ids speak of are removed', {
  skip: existsSync('/sys/fs/cgroup/pids/tasks') && process.getuid?.() === 0 ? false : 'no control groups to write',
}, async () => {
  const gone = 2 ** 22 + 1 // beyond the largest process id (PID_MAX_LIMIT)
  const own = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  const folder = (namespace: string): string => `/sys/fs/cgroup/pids/hivesync-${gone}-abcdef-${namespace}`
  for (const namespace of [own, '1']) mkdirSync(folder(namespace))
  await (await openSandbox({ slots: 1 })).close()
  assert.deepEqual([existsSync(folder(own)), existsSync(folder('1'))], [false, true])
  rmdirSync(folder('1'))
})

test('a killed worker takes its jobs along, and the next one tidies up after it', async () => {
  const mark = `3${process.pid}.5`
  const script = `const { openSandbox } = await import(${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))})
const { LIMITS } = await import(${JSON.stringify(join(import.meta.dirname, 'testing.ts'))})
const sandbox = await openSandbox({ slots: 1 })
await sandbox.run({ command: ['/bin/sh', '-c', 'echo up; sleep ${mark}'], limits: LIMITS, onOutput: () => console.log('up') })`
  const worker = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => worker.stdout.once('data', resolve))
  while (findProcesses(`sleep\0${mark}`).length === 0) await new Promise((resolve) => setImmediate(resolve))
  worker.kill('SIGKILL')
  await new Promise((resolve) => worker.once('exit', resolve))
  while (findProcesses(`sleep\0${mark}`).length > 0) await new Promise((resolve) => setImmediate(resolve))
  const own = await openSandbox({ slots: 1 })
  await own.close()
  const places = [tmpdir(), '/sys/fs/cgroup/memory', '/sys/fs/cgroup/pids', '/sys/fs/cgroup/cpu'].filter((path) =>
    existsSync(path),
  )
  const left = places.flatMap((path) => readdirSync(path).filter((name) => name.startsWith(`hivesync-${worker.pid}-`)))
  assert.deepEqual(left, [])
})

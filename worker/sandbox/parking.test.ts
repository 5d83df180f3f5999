import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isRunning } from './altered-launch.ts'
import { openSandbox } from './sandbox.ts'
import { LIMITS, runJob, shell } from './testing.ts'

/** The waiting launchers of a worker, by host pid. */
function findParked(worker: number): number[] {
  return (
    readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .map(Number)
      // The whole line: setpriv and prlimit end with the same words before they become the shell.
      .filter((pid) => /^[^\0]*sh\0\/proc\/self\/fd\/4\0$/.test(readOf(pid, 'cmdline')))
      .filter((pid) => Number(/^PPid:\s+(\d+)/m.exec(readOf(pid, 'status'))?.[1]) === worker)
  )
}

function readOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return '' // ended while the list was read
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function untilParked(worker: number, count: number): Promise<number[]> {
  for (;;) {
    const parked = findParked(worker)
    if (parked.length === count) return parked
    await turn()
  }
}

test('a launcher waits without any right, and as many as asked for, whatever the slots', async () => {
  await using sandbox = await openSandbox({ slots: 8, parked: 3 })
  const parked = await untilParked(process.pid, 3)
  for (const pid of parked) {
    const status = readOf(pid, 'status')
    assert.match(status, /^NoNewPrivs:\s+1$/m)
    assert.match(status, /^CapEff:\s+0+$/m)
    assert.equal(readOf(pid, 'environ'), '')
    if (process.getuid?.() === 0) assert.match(status, /^Uid:\s+(6100\d)\s+\1\s+\1\s+\1$/m)
  }
  const resident = parked.map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readOf(pid, 'status'))?.[1]))
  for (const kilobytes of resident) assert.ok(kilobytes < 3 * 1024, `${kilobytes} kB`)
  await sandbox.close()
  assert.deepEqual(findParked(process.pid), [])
})

test('a launcher becomes one job and no second', async () => {
  await using sandbox = await openSandbox({ slots: 1, parked: 1 })
  const seen = new Set<number>()
  for (let run = 0; run < 3; run += 1) {
    const [pid = 0] = await untilParked(process.pid, 1)
    assert.equal(seen.has(pid), false)
    seen.add(pid)
    const abort = new AbortController()
    await runJob(sandbox, shell('echo up; sleep 60'), { signal: abort.signal, onOutput: () => abort.abort() })
    assert.equal(isRunning(pid), false)
  }
})

test('a launcher that died while it waited is replaced, and the job does not notice', async () => {
  await using sandbox = await openSandbox({ slots: 1, parked: 1 })
  const [pid = 0] = await untilParked(process.pid, 1)
  process.kill(pid, 'SIGKILL')
  while (isRunning(pid)); // without a turn of the event loop, so that nobody has told the sandbox of it
  assert.equal((await runJob(sandbox, ['echo', 'ran'])).output, 'ran\n')
})

test('a launcher that dies before it has begun is an error of the sandbox, not the result of a job', async () => {
  await using sandbox = await openSandbox({ slots: 1, parked: 1 })
  const [pid = 0] = await untilParked(process.pid, 1)
  process.kill(pid, 'SIGSTOP')
  const told = Promise.withResolvers<void>()
  async function* stdin(): AsyncGenerator<Uint8Array> {
    told.resolve() // it is asked for when the launcher is told what to become
    yield Buffer.from('x')
  }
  const job = sandbox.run({ command: ['echo', 'ran'], stdin: stdin(), limits: LIMITS })
  await told.promise
  process.kill(pid, 'SIGKILL')
  await assert.rejects(job, /could not be started/)
  assert.equal((await runJob(sandbox, ['echo', 'next'])).output, 'next\n')
})

test('without waiting launchers everything is the same but later', async () => {
  await using sandbox = await openSandbox({ slots: 1, parked: 0 })
  assert.deepEqual(findParked(process.pid), [])
  const { output, receipt } = await runJob(sandbox, shell('echo ran; cat /proc/1/environ'))
  assert.equal(output, 'ran\n')
  assert.equal(receipt.killed, null)
})

test('waiting launchers die with a worker that is killed', async () => {
  const script = `const { openSandbox } = await import(${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))})
await openSandbox({ slots: 2 })
console.log('open')
setInterval(() => {}, 1000)`
  const worker = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => worker.stdout.once('data', resolve))
  const parked = await untilParked(worker.pid ?? 0, 2)
  worker.kill('SIGKILL')
  await new Promise((resolve) => worker.once('exit', resolve))
  while (parked.some(isRunning)) await turn()
  await using _own = await openSandbox({ slots: 1 }) // tidies up after it
})

test('waiting launchers do not keep a process from ending that forgets to close', async () => {
  const script = `const { openSandbox } = await import(${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))})
await openSandbox({ slots: 2 })`
  const worker = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  assert.equal(await new Promise((resolve) => worker.once('exit', resolve)), 0)
})

test('words of a command arrive as they are, through whichever shell', async () => {
  await using sandbox = await openSandbox({ slots: 1 })
  const words = [
    "it's",
    '"',
    '$HOME',
    '`id`',
    '$(id)',
    '\\',
    '\\n',
    'a\nb',
    '',
    ' ',
    '*',
    '~',
    '!',
    '-',
    '--',
    'é\u0081ü',
    '日本',
    '\x01\x7f',
    '}; id; {',
  ]
  const { output } = await runJob(sandbox, ['printf', '%s\\0', ...words])
  assert.deepEqual(output.split('\0').slice(0, -1), words)
})

test('stdin streams from an iterable as fast as the job reads, and is let go when the job ends first', async () => {
  await using sandbox = await openSandbox({ slots: 1 })
  let given = 0
  let returned = false
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        given += 1
        yield Buffer.alloc(65_536, 'x')
      }
    } finally {
      returned = true
    }
  }
  const { output } = await runJob(sandbox, ['head', '-c', '300000'], {
    stdin: source(),
    limits: { outputBytes: 400_000 },
  })
  assert.equal(output.length, 300_000)
  assert.ok(given < 40, `${given} chunks were asked for`)
  while (!returned) await turn()
})

test('an error of stdin’s source fails the run, and a source that never speaks again holds nothing up', async () => {
  await using sandbox = await openSandbox({ slots: 1 })
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('some')
    throw new Error('the archive is gone')
  }
  const failed = sandbox.run({ command: ['sleep', '60'], stdin: failing(), limits: LIMITS })
  await assert.rejects(failed, /the archive is gone/)
  async function* silent(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('line\n')
    await new Promise(() => {})
  }
  const { output } = await runJob(sandbox, shell('read x; echo $x'), { stdin: silent() })
  assert.equal(output, 'line\n')
})

test('the receipt says which limits applied and what was used', async () => {
  await using sandbox = await openSandbox({ slots: 1 })
  const { receipt } = await runJob(sandbox, shell('sleep 0.3 & sleep 0.3 & wait'), { limits: { pids: 9 } })
  assert.deepEqual(receipt.limits, { ...LIMITS, pids: 9 })
  assert.ok((receipt.peakPids ?? 0) >= 5, String(receipt.peakPids)) // bubblewrap twice, the shell, two sleeps
  assert.ok((receipt.peakMemoryBytes ?? 0) > 100_000)
})

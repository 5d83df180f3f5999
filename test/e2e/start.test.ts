// `npm start` as it meets a machine: what it refuses and says, and what it leaves behind however it ends.
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { findMissing } from '../../start/prerequisites.ts'

const root = join(import.meta.dirname, '..', '..')
const patienceMs = 120_000
const isRoot = process.getuid?.() === 0

test('a flag it does not know is refused with 64', async (context) => {
  const { code, stderr } = await startAndEnd(temporaryFolder(context), {}, '--bogus')
  assert.deepEqual({ code, stderr }, { code: 64, stderr: 'npm start does not know --bogus. It takes --install.\n' })
})

const hasScript = existsSync('/usr/bin/script')
const onTerminal = { skip: hasScript ? false : 'script of util-linux, which makes a terminal, is not installed' }
test('on a terminal only requests that went wrong are printed, elsewhere all of them', onTerminal, async (context) => {
  for (const isTerminal of [true, false]) {
    const started = await start(temporaryFolder(context), { HIVESYNC_EMBEDDED_WORKER: '0' }, isTerminal)
    context.after(() => end(started))
    assert.equal((await fetch(`${started.url}/health`)).status, 200)
    assert.equal((await fetch(`${started.url}/nowhere`)).status, 404)
    let saysRoutine = false
    let saysSetup = false
    await started.line((text) => {
      saysRoutine ||= text.includes('"event":"request"') && text.includes('"status":200')
      saysSetup ||= text.includes('/setup#')
      return text.includes('"status":404')
    })
    assert.deepEqual([saysRoutine, saysSetup], [!isTerminal, true])
    await end(started)
  }
})

test('a terminal that vanishes without a word ends the server too', onTerminal, async (context) => {
  const folder = temporaryFolder(context)
  const started = await start(folder, { HIVESYNC_EMBEDDED_WORKER: '0' }, true)
  context.after(() => end(started))
  started.child.kill('SIGKILL') // script, which holds the other end of the terminal
  while (processesOf(folder) > 0) await new Promise((resolve) => setImmediate(resolve))
})

/** How many processes were started on this data folder and are there still. */
function processesOf(folder: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        Number(pid) !== process.pid &&
        readFileSync(`/proc/${pid}/environ`, 'latin1').includes(folder)
      )
    } catch {
      return false // ended while the list was read, or somebody else's
    }
  }).length
}

test('a refused configuration is a line per problem and 78', async (context) => {
  const env = { HIVESYNC_PORT: 'abc', HIVESYNC_PROFILE: 'nonsense' }
  const { code, stderr } = await startAndEnd(temporaryFolder(context), env)
  assert.equal(code, 78)
  const lines = stderr.split('\n').filter((line) => line.startsWith('HIVESYNC_'))
  assert.equal(lines.length, 2, stderr)
  assert.doesNotMatch(stderr, /\n\s+at /)
})

test('a port in use is refused in one line with 69', async (context) => {
  const squatter = createServer().listen(0, '127.0.0.1')
  await once(squatter, 'listening')
  context.after(() => squatter.close())
  const address = squatter.address()
  assert.ok(address && typeof address === 'object')
  const { code, stderr } = await startAndEnd(temporaryFolder(context), { HIVESYNC_PORT: String(address.port) })
  assert.equal(code, 69)
  assert.match(stderr, new RegExp(`Port ${address.port} is in use.*HIVESYNC_PORT`))
  assert.doesNotMatch(stderr, /\n\s+at /)
})

test('a second start on the same data is refused in one line with 69, and disturbs nothing', async (context) => {
  const folder = temporaryFolder(context)
  const first = await start(folder, { HIVESYNC_EMBEDDED_WORKER: '0' })
  context.after(() => end(first))
  const { code, stderr } = await startAndEnd(folder, {})
  assert.equal(code, 69)
  assert.match(stderr, /runs on this data folder already/)
  assert.doesNotMatch(stderr, /\n\s+at /)
  assert.equal((await fetch(`${first.url}/health`)).status, 200)
  assert.equal(await end(first), 0)
})

test('a server that is killed ends the start with a failure', async (context) => {
  const running = await start(temporaryFolder(context), { HIVESYNC_EMBEDDED_WORKER: '0' })
  context.after(() => end(running))
  const [server] = childrenOf(running.pid)
  assert.ok(server)
  process.kill(server, 'SIGKILL')
  assert.equal(await running.ended, 70)
})

test('server and worker end with a start that is killed, and the next start removes the control groups it left', async (context) => {
  const folder = temporaryFolder(context)
  const first = await start(folder)
  context.after(() => end(first))
  await first.line((text) => text.includes('"worker_ready"'))
  const hasCgroups = controlGroups(first.pid).length > 0
  assert.equal(hasCgroups, isRoot && hasControlGroups1(), 'root has control groups where the machine has them')
  process.kill(first.pid, 'SIGKILL')
  // Their output is a pipe to here that closes with the last of them.
  await first.closed

  // On the same port: a worker's identity names the server it is for.
  const second = await start(folder, { HIVESYNC_PORT: new URL(first.url).port })
  context.after(() => end(second))
  await second.line((text) => text.includes('"worker_ready"'))
  assert.deepEqual(controlGroups(first.pid), [])
  assert.equal(controlGroups(second.pid).length > 0, hasCgroups)
  second.child.kill('SIGHUP') // as a terminal that is closed
  assert.equal(await second.ended, 0)
  await second.closed
  assert.deepEqual(controlGroups(second.pid), [])
})

test('what the worker misses is named with the one command that installs it', (context) => {
  const folder = temporaryFolder(context)
  const provide = (...names: string[]) => {
    for (const name of names) writeFileSync(join(folder, name), '', { mode: 0o755 })
  }
  provide('git', 'setpriv', 'prlimit')
  assert.deepEqual(findMissing([folder], true), { programs: ['bwrap'], remedy: null })

  provide('apt-get')
  const install = 'apt-get install -y --no-install-recommends bubblewrap ca-certificates'
  assert.equal(findMissing([folder], true)?.remedy?.text, `apt-get update && ${install}`)
  const asRoot = findMissing([folder], false)?.remedy
  assert.equal(asRoot?.text, `su - -c 'apt-get update && ${install}'`)
  assert.deepEqual(asRoot?.commands, [['su', '-', '-c', `apt-get update && ${install}`]])

  provide('sudo')
  const elevated = findMissing([folder], false)?.remedy
  assert.equal(elevated?.text, `sudo apt-get update && sudo ${install}`)
  assert.deepEqual(elevated?.commands[0], ['sudo', 'apt-get', 'update'])

  provide('bwrap')
  assert.equal(findMissing([folder], true), undefined)
})

test('the Node of node_modules is found without npm’s link to it, and its absence is said', async (context) => {
  const bundled = globSync('node_modules/node-linux-*/bin/node', { cwd: root })
  if (bundled.length > 0) {
    const found = await run(join(root, 'start', 'node'), ['--version'], { PATH: '/usr/bin:/bin' })
    assert.match(found.stdout, /^v(?:2[4-9]|[3-9]\d)\./)
  }
  const folder = temporaryFolder(context)
  mkdirSync(join(folder, 'start'))
  const script = join(folder, 'start', 'node')
  copyFileSync(join(root, 'start', 'node'), script)
  // A machine whose own Node is too old, as that of Debian 12.
  writeFileSync(join(folder, 'node'), '#!/bin/sh\necho 18\n', { mode: 0o755 })
  const absent = await run(script, ['--version'], { PATH: `${folder}:/usr/bin:/bin` })
  assert.equal(absent.code, 78)
  assert.match(absent.stderr, /needs Node\.js 24/)
})

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

interface Started {
  pid: number
  child: ChildProcess
  url: string
  line(accept: (text: string) => boolean): Promise<string>
  /** Resolves with the exit code of the start itself. */
  ended: Promise<number | null>
  /** Resolves when nothing it started has its output open any more. */
  closed: Promise<unknown>
}

async function start(folder: string, env: Record<string, string> = {}, isTerminal = false): Promise<Started> {
  const command = [process.execPath, join(root, 'start.ts')]
  const [program = '', ...args] = isTerminal ? ['script', '-qefc', command.join(' '), '/dev/null'] : command
  const child = spawn(program, args, {
    env: environment(folder, env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const seen: string[] = []
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (text) => {
      seen.push(text)
      for (const look of [...waiting]) look()
    })
  const line: Started['line'] = (accept) =>
    new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`nothing of the kind in:\n${seen.join('\n')}`))
      const timer = setTimeout(fail, patienceMs)
      child.once('close', fail)
      const look = (): void => {
        const found = seen.find(accept)
        if (found === undefined) return
        clearTimeout(timer)
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    })
  const ended = once(child, 'exit').then(([code]) => code)
  const closed = once(child, 'close')
  const { url } = JSON.parse(await line((text) => text.startsWith('{"event":"listening"')))
  return { pid: child.pid ?? 0, child, url, line, ended, closed }
}

async function end(started: Started): Promise<number | null> {
  started.child.kill('SIGTERM')
  await started.closed
  return started.ended
}

function startAndEnd(folder: string, env: Record<string, string>, ...args: string[]): Promise<Outcome> {
  return run(process.execPath, [join(root, 'start.ts'), ...args], environment(folder, env))
}

function run(program: string, args: string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { env, timeout: patienceMs }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

function environment(folder: string, env: Record<string, string>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:HIVESYNC_|NODE_TEST)/.test(name))
  return { ...Object.fromEntries(own), HIVESYNC_DATA: join(folder, 'data'), HIVESYNC_PORT: '0', ...env }
}

function temporaryFolder(context: { after(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-start-'))
  chmodSync(folder, 0o755) // the worker's own user passes through
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
}

function controlGroups(pid: number): string[] {
  return globSync(`/sys/fs/cgroup/*/hivesync-worker-*-${pid}`)
}

/** Whether a controller of version 1 lets a new group be made. */
function hasControlGroups1(): boolean {
  const probe = `/sys/fs/cgroup/pids/hivesync-start-test-${process.pid}`
  if (!existsSync('/sys/fs/cgroup/pids/cgroup.procs')) return false
  try {
    mkdirSync(probe)
    rmdirSync(probe)
    return true
  } catch {
    return false // read-only, as in most containers
  }
}

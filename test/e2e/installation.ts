// A whole installation as a user starts it: `start.ts` with server and worker as processes of their own, driven through the command line.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const root = join(import.meta.dirname, '..', '..')
const patienceMs = 120_000

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

export interface Installation extends AsyncDisposable {
  readonly url: string
  readonly folder: string
  readonly dataDir: string
  /** Runs `hivesync` with these arguments; never throws for its exit code. */
  cli(...args: string[]): Promise<Outcome>
  /** Runs `hivesync` until it prints a line that the test accepts, then ends it. */
  until(accept: (line: string) => boolean, ...args: string[]): Promise<void>
  /** The same with --json, parsed; throws when it fails. */
  json<T>(...args: string[]): Promise<T>
  /** Resolves with the first output line that the test accepts, past or future. */
  line(accept: (line: string) => boolean): Promise<string>
  /** What it has printed since it was started, for the message of a failure. */
  lines(): readonly string[]
  /** The process ids of the server and of the worker that run now. */
  processes(): Promise<{ server: number; worker: number | undefined }>
  /** Stops with SIGTERM and waits; resolves with the exit code. */
  stop(): Promise<number | null>
  start(): Promise<void>
}

/** Installs into a temporary folder and starts; `env` adds settings. */
export async function install(env: Record<string, string> = {}): Promise<Installation> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-e2e-'))
  await chmod(folder, 0o755)
  const dataDir = join(folder, 'data')
  await mkdir(join(folder, 'repos'))
  let child: ChildProcess | undefined
  let lines: string[] = []
  let url = ''
  const waiting = new Set<() => void>()
  let port = '0'

  const start = async (): Promise<void> => {
    lines = []
    const settings = {
      HIVESYNC_DATA: dataDir,
      HIVESYNC_PORT: port,
      HIVESYNC_RATE_SCALE: '1000',
      HIVESYNC_LOCAL_REPOS: join(folder, 'repos'),
      ...env,
    }
    child = spawn(process.execPath, [join(root, 'start.ts')], {
      cwd: folder,
      env: { ...clean(process.env), ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line)
        for (const look of [...waiting]) look()
      })
    }
    const listening = await line((text) => text.startsWith('{"event":"listening"'))
    url = JSON.parse(listening).url
    port = new URL(url).port
  }

  const line: Installation['line'] = (accept) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => end(() => reject(new Error(`nothing of the kind in:\n${lines.join('\n')}`))),
        patienceMs,
      )
      const look = (): void => {
        const found = lines.find(accept)
        if (found !== undefined) end(() => resolve(found))
      }
      const onExit = (): void => end(() => reject(new Error(`ended before it:\n${lines.join('\n')}`)))
      const end = (settle: () => void): void => {
        clearTimeout(timer)
        waiting.delete(look)
        child?.off('exit', onExit)
        settle()
      }
      waiting.add(look)
      child?.on('exit', onExit)
      look()
    })

  const until: Installation['until'] = async (accept, ...args) => {
    const environment = { ...clean(process.env), HIVESYNC_CLI_HOME: join(folder, 'cli'), NO_COLOR: '1' }
    const follower = spawn(process.execPath, [join(root, 'bin', 'hivesync.ts'), ...args], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(follower, 'exit')
    let seen = false
    for await (const text of createInterface({ input: follower.stdout })) {
      if (!accept(text)) continue
      seen = true
      break
    }
    follower.kill('SIGKILL')
    await ended
    if (!seen) throw new Error(`hivesync ${args.join(' ')} ended without it`)
  }

  const cli = (...args: string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      const environment = { ...clean(process.env), HIVESYNC_CLI_HOME: join(folder, 'cli'), NO_COLOR: '1' }
      const command = [join(root, 'bin', 'hivesync.ts'), ...args]
      execFile(
        process.execPath,
        command,
        { cwd: folder, env: environment, timeout: patienceMs, maxBuffer: 64 << 20 },
        (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr })
        },
      )
    })

  const stop = async (): Promise<number | null> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
    return child.exitCode
  }

  const installation: Installation = {
    get url() {
      return url
    },
    folder,
    dataDir,
    cli,
    until,
    async json(...args) {
      // What follows `--` is the job's command.
      const end = args.includes('--') ? args.indexOf('--') : args.length
      const outcome = await cli(...args.toSpliced(end, 0, '--json'))
      if (outcome.code !== 0) throw new Error(`hivesync ${args.join(' ')}: ${outcome.code} ${outcome.stderr}`)
      return JSON.parse(outcome.stdout)
    },
    line,
    lines: () => lines,
    async processes() {
      const children = await descendants(child?.pid ?? 0)
      const find = async (name: string): Promise<number | undefined> => {
        for (const pid of children) if ((await commandOf(pid)).includes(name)) return pid
        return undefined
      }
      const server = await find('server-process.ts')
      if (server === undefined) throw new Error('the server does not run')
      return { server, worker: await find('worker-process.ts') }
    },
    stop,
    start,
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
  await start()
  return installation
}

/** Sets up the first admin and a project. */
export async function setUp(installation: Installation): Promise<void> {
  const hint = await installation.line((text) => text.includes('--setup-token'))
  const token = /--setup-token (\S+)/.exec(hint)?.[1] ?? ''
  const tokenFile = join(installation.folder, 'setup-token')
  await writeFile(tokenFile, token, { mode: 0o600 })
  const password = 'nine amber drones hum at noon'
  const command = [
    join(root, 'bin', 'hivesync.ts'),
    'setup',
    '--server',
    installation.url,
    '--setup-token-file',
    tokenFile,
    '--email',
    'queen@example.net',
    '--username',
    'queen',
    '--password-stdin',
  ]
  const child = spawn(process.execPath, command, {
    env: { ...clean(process.env), HIVESYNC_CLI_HOME: join(installation.folder, 'cli') },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  child.stdin.end(`${password}\n`)
  let complaint = ''
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`setup failed: ${code} ${complaint}`)
  await installation.json('project', 'new', 'demo')
}

function clean(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !name.startsWith('HIVESYNC_') && !name.startsWith('NODE_TEST')),
  )
}

async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text
    .split(' ')
    .filter((entry) => entry !== '')
    .map(Number)
}

function commandOf(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
}

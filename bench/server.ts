import { closeSync, openSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { register, setUp } from '@hivesync/contracts/accounts.ts'
import { getHealth } from '@hivesync/contracts/service.ts'
import { type Login, logIn } from '@hivesync/contracts/sessions.ts'
import { type Client, encodeRequest, openClient, readAnswer } from './connection.ts'
import { plainEnvironment, startNode, stopProcess } from './processes.ts'

export interface BenchServer {
  url: string
  pid: number
  databaseUrl: string
  /** From spawn to the line that says it listens. */
  startedInMs: number
  stop(): Promise<void>
}

export interface StartOptions {
  folder: string
  /** Default: SQLite in the folder. */
  databaseUrl?: string | undefined
  /** Options of the node binary. */
  nodeOptions?: readonly string[]
  env?: Readonly<Record<string, string>>
}

/** Any text of 32 characters that does not look like a placeholder; only this run's server knows it. */
const setupToken = 'mQ7vZ2kL9xT4wB8nR3cY6hJ1gD5fS0pA'
export const password = 'violet amber wings hum at dusk'
const registeredAtOnce = 4

/** A folder of its own that a worker's jobs, which run as other users, can pass through. */
export async function makeFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'hivesync-bench-'))
  await chmod(path, 0o711)
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) }
}

/**
 * Starts the server as `npm start` does, its compile cache in the data folder, its log in a file, on a port of the system's choice; it ends when
 * this process does.
 */
export async function startServer({ folder, databaseUrl, nodeOptions = [], env }: StartOptions): Promise<BenchServer> {
  const logPath = join(folder, 'server.log')
  const log = openSync(logPath, 'a')
  try {
    const url = databaseUrl ?? `sqlite:${join(folder, 'hivesync.db')}`
    const started = await startNode([...nodeOptions, join('start', 'server-process.ts')], 'listening', {
      stdio: ['ignore', 'pipe', log, 'ipc'],
      env: {
        ...plainEnvironment,
        NODE_COMPILE_CACHE: join(folder, 'cache'),
        HIVESYNC_DATA: folder,
        HIVESYNC_DATABASE_URL: url,
        HIVESYNC_PORT: '0',
        HIVESYNC_RATE_SCALE: '1000000',
        HIVESYNC_SETUP_TOKEN: setupToken,
        ...env,
      },
    })
    const serverUrl = String(started.line.url)
    await requireAnswer(serverUrl)
    return {
      url: serverUrl,
      pid: started.pid,
      databaseUrl: url,
      startedInMs: started.elapsedMs,
      stop: () => stopProcess(started.child),
    }
  } catch (error) {
    throw new Error(`the server did not start: ${readFileSync(logPath, 'utf8').slice(-2000)}`, { cause: error })
  } finally {
    closeSync(log)
  }
}

/** One answered request: a server asked to stop in the moment of its line may not have its signal handlers yet, and would end without a trace. */
async function requireAnswer(url: string): Promise<void> {
  const client = openClient(url)
  try {
    readAnswer(await client.send({ method: getHealth.method, target: getHealth.path }), getHealth.status)
  } finally {
    client.close()
  }
}

/** Makes ordinary accounts, a few at a time, on a server started with `HIVESYNC_REGISTRATION=open`, and answers their usernames. */
export async function registerAccounts(server: BenchServer, count: number): Promise<string[]> {
  const client = openClient(server.url)
  const names = Array.from({ length: count }, (_, index) => `drone-${index}`)
  const waiting = names.values()
  const lane = async (): Promise<void> => {
    for (const username of waiting) {
      const body = encode({ email: `${username}@example.net`, username, password })
      readAnswer(await client.send({ method: 'POST', target: register.path, headers: json, body }), register.status)
    }
  }
  try {
    await Promise.all(Array.from({ length: registeredAtOnce }, lane))
    return names
  } finally {
    client.close()
  }
}

/** The bytes of a login; without a password, with the right one of every account made here. */
export function encodeLogin(
  login: string,
  given = password,
  headers: Readonly<Record<string, string>> = {},
  deviceToken?: string,
): Buffer {
  const device = deviceToken === undefined ? {} : { device: { token: deviceToken } }
  const body = encode({ login, password: given, ...device })
  return encodeRequest({ method: logIn.method, target: logIn.path, headers: { ...json, ...headers }, body })
}

export interface Api {
  client: Client
  /** A call with the admin's token; throws unless the answer has the status. */
  call<T>(method: string, target: string, body: unknown, status: number): Promise<T>
  accessToken: string
}

/** Makes the first account, the admin's, and signs it in. */
export async function signInAdmin(server: BenchServer): Promise<Api> {
  const client = openClient(server.url)
  const post = async <T>(target: string, body: unknown, status: number): Promise<T> =>
    readAnswer(await client.send({ method: 'POST', target, headers: json, body: encode(body) }), status)
  await post(setUp.path, { setupToken, email: 'queen@example.net', username: 'queen', password }, 201)
  const { accessToken } = await post<Login>(logIn.path, { login: 'queen', password }, 200)
  const authorization = `Bearer ${accessToken}`
  return {
    client,
    accessToken,
    call: async (method, target, body, status) =>
      readAnswer(
        await client.send({ method, target, headers: { ...json, authorization }, body: encode(body) }),
        status,
      ),
  }
}

const json = { 'content-type': 'application/json' }
const encode = (body: unknown): Buffer => Buffer.from(JSON.stringify(body))

/** Options of the node binary that make it write a CPU profile when it ends, where one is asked for. */
export function profiling(profileDir: string | undefined, name: string): string[] {
  return profileDir === undefined
    ? []
    : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${name}.cpuprofile`]
}

// `npm start`: the server and one worker, as two processes. `--install` consents to installing what the worker needs through the system's package manager.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, readConfig } from './server/platform/config.ts'
import type { FromServer, ToServer } from './start/messages.ts'
import { movedFrom } from './start/moved-from.ts'
import { findMissing, install } from './start/prerequisites.ts'
import { say } from './start/terminal.ts'
import {
  commandAsWorker,
  makePrivateFolder,
  takeWorkerUser,
  viewOfData,
  type WorkerUser,
  writeSecretFile,
} from './start/worker-user.ts'
import { exitCodes } from './worker/exit-codes.ts'

const here = import.meta.dirname
const restartDelayMs = 2000
const tokenFileName = 'enrolment-token'
/** EX_SOFTWARE of sysexits.h, for a server that a signal ended: a process manager is to see a failure. */
const killed = 70
/** Exit codes after which starting the worker again would only repeat them. */
const finalWorkerCodes: ReadonlySet<number | null> = new Set([
  exitCodes.stopped,
  exitCodes.revoked,
  exitCodes.configuration,
])

async function start(args: readonly string[]): Promise<number> {
  const unknown = args.filter((argument) => argument !== '--install')
  if (unknown.length > 0) {
    say(`npm start does not know ${unknown.join(' ')}. It takes --install.`)
    return 64
  }
  if (!meetPrerequisites(args.includes('--install'))) return 69
  let config: ReturnType<typeof readConfig>
  try {
    config = readConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) say(problem)
    return 78
  }
  const server = spawnPart([process.execPath, join(here, 'start', 'server-process.ts')], {
    NODE_COMPILE_CACHE: join(config.dataDir, 'cache'),
    ...process.env,
  })
  const url = await listening(server)
  if (url === undefined) return server.exitCode ?? killed
  const worker = config.embeddedWorker
    ? runWorker(server, url, join(config.dataDir, 'worker'), config.localRepos)
    : undefined
  return supervise(server, worker)
}

/** True when the start may go on: nothing is missing, it was installed, or the server shall run without a working worker. */
function meetPrerequisites(mayInstall: boolean): boolean {
  const missing = findMissing()
  if (missing === undefined) return true
  const { programs, remedy } = missing
  const list = programs.join(', ')
  if (mayInstall && remedy !== null) {
    say(`Installing what the worker needs (${list}): ${remedy.text}`)
    if (install(remedy.commands)) return true
    say('That failed, for the reason above. Without --install the server starts all the same.')
    return false
  }
  const advice = remedy === null ? 'Install them.' : `Type: ${remedy.text}`
  say(`The worker needs ${list}, and refuses jobs until it has them; it looks every minute. ${advice}`)
  return true
}

/** A child in a process group of its own, so that Ctrl-C reaches us alone and we stop our children in order. It ends when we do: the channel closes. */
function spawnPart([program, ...args]: readonly [string, ...string[]], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(program, args, { env, detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

function listening(server: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    server.once('exit', () => resolve(undefined))
    server.on('message', (message: FromServer) => {
      if (message.event === 'listening') resolve(message.url)
    })
  })
}

/** A token that enrols the worker; undefined when the server has ended or could not make one, which its log explains. */
function enrolmentToken(server: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    const settle = (token: string | undefined): void => {
      server.off('message', onMessage)
      server.off('exit', onExit)
      resolve(token)
    }
    const onMessage = (message: FromServer): void => {
      if (message.event === 'enrolment') settle(message.token ?? undefined)
    }
    const onExit = (): void => settle(undefined)
    server.on('message', onMessage)
    server.on('exit', onExit)
    const request: ToServer = { request: 'enrolment' }
    server.send(request, (error) => {
      if (error !== null) settle(undefined)
    })
  })
}

interface Worker {
  /** Lets running jobs finish or gives them back; resolves when the process is gone. */
  stop(): Promise<void>
  hurry(): void
}

/** Runs the worker and starts it again when it crashes. It gets nothing of our environment: the server's secrets are not its business. */
function runWorker(server: ChildProcess, url: string, dataDir: string, localRepos: readonly string[]): Worker {
  const user = takeWorkerUser()
  if (process.getuid?.() === 0) {
    say(
      user === undefined
        ? 'The worker runs as root and each of its jobs as a user of its own.'
        : `The worker and its jobs run as the user ${user.uid}.`,
    )
  }
  const script = 'worker-process.ts'
  const command =
    user === undefined
      ? ([process.execPath, join(here, 'start', script)] as const)
      : commandAsWorker(user, here, dataDir, process.execPath, script)
  const tokenFile = join(dataDir, tokenFileName)
  const identityFile = join(dataDir, 'identity', 'identity.json')
  let child: ChildProcess | undefined
  let stopping = false
  const ended = keepRunning()

  async function keepRunning(): Promise<void> {
    makePrivateFolder(dataDir, user?.uid)
    while (!stopping) {
      const isEnrolled = await enrol()
      if (stopping) break
      if (isEnrolled) {
        child = spawnPart(command, {
          ...workerEnvironment(url, user === undefined ? dataDir : viewOfData, localRepos, user),
          ...movedFrom(identityFile, url),
        })
        const code = await exitOf(child)
        if (stopping) break
        // As after months in which nothing was started: its own server enrols it anew.
        if (code === exitCodes.expired) rmSync(identityFile, { force: true })
        if (finalWorkerCodes.has(code)) {
          say(
            `The worker ended with ${code} and is not started again; the server runs without it. Its folder: ${dataDir}`,
          )
          break
        }
        say(`The worker ended with ${code}; it is started again in ${restartDelayMs / 1000} s.`)
      }
      await new Promise((resolve) => setTimeout(resolve, restartDelayMs))
    }
    user?.release()
  }

  async function enrol(): Promise<boolean> {
    if (existsSync(identityFile)) return true
    const token = await enrolmentToken(server)
    if (token !== undefined) writeSecretFile(tokenFile, token, user?.uid)
    return token !== undefined
  }

  return {
    async stop() {
      stopping = true
      child?.kill('SIGTERM')
      await ended
    },
    hurry: () => void child?.kill('SIGTERM'),
  }
}

function workerEnvironment(
  url: string,
  dataDir: string,
  localRepos: readonly string[],
  user: WorkerUser | undefined,
): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => name.startsWith('HIVESYNC_WORKER_'))
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
    LANG: 'C.UTF-8',
    HIVESYNC_WORKER_SERVER: url,
    NODE_COMPILE_CACHE: join(dataDir, 'cache'),
    HIVESYNC_WORKER_DATA: dataDir,
    HIVESYNC_WORKER_TOKEN_FILE: join(dataDir, tokenFileName),
    HIVESYNC_WORKER_LOCAL_REPOS: localRepos.join(','),
    ...(user === undefined ? {} : { HIVESYNC_WORKER_CGROUPS: JSON.stringify(user.cgroups) }),
    ...Object.fromEntries(own),
  }
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve))
}

/** Until a signal or the server's end: then the worker first, which needs the server to give its jobs back. A second signal hurries. */
function supervise(server: ChildProcess, worker: Worker | undefined): Promise<number> {
  return new Promise((resolve) => {
    let stopping = false
    const stop = async (): Promise<void> => {
      if (stopping) {
        worker?.hurry()
        return
      }
      stopping = true
      await worker?.stop()
      if (isRunning(server)) {
        const ended = exitOf(server)
        server.kill('SIGTERM')
        await ended
      }
      resolve(server.exitCode ?? killed)
    }
    // SIGHUP: the terminal was closed.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
    server.once('exit', (code, signal) => {
      if (!stopping) say(`The server ended with ${code ?? signal}.`)
      void stop()
    })
  })
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

process.exitCode = await start(process.argv.slice(2))

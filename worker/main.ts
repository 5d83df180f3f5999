import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runAgent } from './agent.ts'
import { type Clock, systemClock } from './clock.ts'
import {
  type Environment,
  parseWorkerConfig,
  readWorkerConfig,
  type WorkerConfig,
  WorkerConfigError,
} from './config.ts'
import { requireIdentity } from './enrol/enrol.ts'
import { identityFolder, makeDataFolder, StartRefused } from './enrol/identity.ts'
import { type Random, systemRandom } from './enrol/random.ts'
import { exitCodes } from './exit-codes.ts'
import { MirrorBusy, withMirrorLock } from './fetch/mirror-lock.ts'
import { openIsolation } from './isolation.ts'
import { createLogger, type Logger } from './logger.ts'
import { createTransport } from './report/http-transport.ts'
import { findGranted } from './sandbox/gpu.ts'

export interface WorkerOptions {
  /** Default: this process's environment. */
  env?: Environment
  clock?: Clock
  random?: Random
  /** Takes the log, a JSON line at a time; default standard output. */
  write?: (line: string) => void
  /** Takes what is wrong with the configuration, as plain lines; default standard error. */
  complain?: (line: string) => void
  /** Stops the worker like SIGTERM; `hurry` like a second one. Signals of the process are heard in any case. */
  drain?: AbortSignal
  hurry?: AbortSignal
}

/**
 * Runs a worker until it is told to stop (SIGTERM or SIGINT: no new jobs, running ones may drain; again: at once) or has
 * been idle for as long as it may, and answers the exit code: 0 stopped or idle, 69 idle on a machine that can run no jobs, 70 a fault of the worker, 76 its key has expired, 77 cut off by the server, 78 configuration or
 * identity refused.
 */
export async function runWorker(options: WorkerOptions = {}): Promise<number> {
  const { clock = systemClock, random = systemRandom } = options
  const complain = options.complain ?? ((line: string) => void process.stderr.write(`${line}\n`))
  const log = createLogger(options.write ?? ((line) => void process.stdout.write(line)), clock.nowMs)
  let config: WorkerConfig
  try {
    config = options.env === undefined ? readWorkerConfig() : parseWorkerConfig(options.env)
  } catch (error) {
    if (!(error instanceof WorkerConfigError)) throw error
    for (const problem of error.problems) complain(problem)
    return exitCodes.configuration
  }
  const stopping = hearSignals(log, options)
  try {
    for (const name of await makeDataFolder(config.dataDir)) {
      const reason =
        'jobs of a root worker run as other users, who cannot pass this folder: no repository can be ingested'
      log.error('folder_closed', { name, reason, fix: `chmod o+x ${name}` })
    }
    // Two workers with one identity would take each other's silence about a lease for its loss.
    const lockPath = join(identityFolder(config.dataDir), 'lock')
    return await withMirrorLock(lockPath, stopping.drain, () => work({ config, clock, random, log, ...stopping }))
  } catch (error) {
    if (stopping.drain.aborted && error === stopping.drain.reason) return exitCodes.stopped
    if (error instanceof StartRefused) complain(error.message)
    else if (error instanceof MirrorBusy) complain(`Another worker is running with ${config.dataDir}`)
    else {
      log.error('worker_failed', {}, error)
      return exitCodes.software
    }
    return exitCodes.configuration
  } finally {
    stopping.forget()
  }
}

interface Work {
  config: WorkerConfig
  clock: Clock
  random: Random
  log: Logger
  drain: AbortSignal
  hurry: AbortSignal
}

async function work({ config, clock, random, log, drain, hurry }: Work): Promise<number> {
  const ca = config.caFile === null ? undefined : readFileSync(config.caFile, 'utf8')
  const transport = createTransport({ origin: config.server, ca, clock })
  try {
    const identity = await requireIdentity({ config, transport, clock, random, log, signal: drain })
    const cgroupParent = config.cgroups ?? undefined
    const { slots, gpuMaxMs } = config
    const gpus = findGranted(config.gpus)
    const isolation = await openIsolation({ slots, cgroupParent, gpus, gpuMaxMs, clock, log })
    try {
      const version = readVersion()
      const options = { config, identity, transport, isolation, clock, random, log, version, drain, hurry }
      const { cutOff, trouble } = await runAgent(options)
      if (cutOff === undefined && trouble === undefined) return exitCodes.stopped
      if (cutOff === undefined) {
        log.error('idle_in_vain', { workerId: identity.workerId, reason: trouble ?? null })
        return exitCodes.unavailable
      }
      const isExpired = cutOff === 'worker_key_expired'
      log.error(cutOff, {
        workerId: identity.workerId,
        reason: isExpired
          ? 'the key of this worker was not replaced in time and has expired'
          : 'the server does not know this worker any more',
        fix: `remove ${identityFolder(config.dataDir)} and enrol anew`,
      })
      return isExpired ? exitCodes.expired : exitCodes.revoked
    } finally {
      await isolation.close()
    }
  } finally {
    transport.close()
  }
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, 'package.json'), 'utf8')) as { version: string }
  return version
}

function hearSignals(log: Logger, options: WorkerOptions) {
  const drain = new AbortController()
  const hurry = new AbortController()
  const onSignal = (signal: string): void => {
    log.info('signal_received', { signal })
    if (drain.signal.aborted) hurry.abort()
    else drain.abort(new Error('the worker is stopping'))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return {
    drain: options.drain === undefined ? drain.signal : AbortSignal.any([drain.signal, options.drain]),
    hurry: options.hurry === undefined ? hurry.signal : AbortSignal.any([hurry.signal, options.hurry]),
    forget(): void {
      process.off('SIGTERM', onSignal)
      process.off('SIGINT', onSignal)
    },
  }
}

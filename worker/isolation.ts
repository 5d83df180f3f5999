import type { Isolation } from '@hivesync/contracts/workers.ts'
import type { Clock } from './clock.ts'
import type { Logger } from './logger.ts'
import { openSandbox, type SandboxOptions } from './sandbox/sandbox.ts'
import { proveIsolation } from './sandbox/self-test.ts'
import type { Sandbox } from './sandbox/spec.ts'
import { SandboxUnavailable } from './sandbox/unavailable.ts'

/** How often a machine without sandbox is asked again: whoever follows the printed advice need not restart the worker. */
const retryMs = 60_000
/** contracts/workers.ts, Isolation. */
const maxReasonLength = 500
const maxLayers = 40

export interface IsolationState {
  /** Undefined unless the escape table found no way out. */
  readonly sandbox: Sandbox | undefined
  readonly level: Isolation['level']
  /** What to report; tries again first when the tools were missing and a minute has passed. */
  current(): Promise<Isolation>
  close(): Promise<void>
}

/**
 * Opens the sandbox and lets the escape table run against it. Never throws for what the machine lacks: a worker that cannot
 * isolate connects all the same and says so, with the reason and the fix, but holds no sandbox to run anything in.
 */
export async function openIsolation(options: SandboxOptions & { clock: Clock; log: Logger }): Promise<IsolationState> {
  const { clock, log } = options
  let state = await probe(options, log)
  let probedAtMs = clock.monotonicMs()
  return {
    get sandbox() {
      return state.sandbox
    },
    get level() {
      return state.isolation.level
    },
    async current() {
      if (state.mayChange && clock.monotonicMs() - probedAtMs >= retryMs) {
        state = await probe(options, log)
        probedAtMs = clock.monotonicMs()
      }
      return state.isolation
    },
    close: async () => state.sandbox?.close(),
  }
}

interface Probed {
  sandbox: Sandbox | undefined
  isolation: Isolation
  mayChange: boolean
}

async function probe(options: SandboxOptions, log: Logger): Promise<Probed> {
  let sandbox: Sandbox
  try {
    sandbox = await openSandbox(options)
  } catch (error) {
    const isExplained = error instanceof SandboxUnavailable
    const reason = isExplained ? error.reason : 'The sandbox could not be opened; the log of the worker says why.'
    const fix = isExplained ? error.fix : null
    log.error('sandbox_unavailable', { reason, fix }, isExplained ? undefined : error)
    return { sandbox: undefined, isolation: none(fix === null ? reason : `${reason} ${fix}`), mayChange: true }
  }
  const report = await proveIsolation(sandbox)
  const open = report.checks.filter((check) => !check.blocked)
  for (const { name, detail } of open) log.error('isolation_hole', { name, detail })
  if (report.level === 'none') {
    await sandbox.close()
    const names = open.map((check) => check.name).join(', ')
    return {
      sandbox: undefined,
      isolation: none(`The sandbox of this machine is not tight: ${names}`),
      mayChange: false,
    }
  }
  log.info('isolation_proven', {
    isolation: report.level,
    count: report.checks.length,
    detail: report.layers.join(' '),
  })
  const isolation: Isolation = { level: report.level, layers: report.layers.slice(0, maxLayers), reason: null }
  return { sandbox, isolation, mayChange: false }
}

function none(reason: string): Isolation {
  return { level: 'none', layers: [], reason: reason.slice(0, maxReasonLength) }
}

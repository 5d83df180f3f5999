import closeWithGrace from 'close-with-grace'
import { ensureSetupToken, equalizePasswordWork, openBlocklist } from './accounts/accounts.ts'
import { createApp } from './app.ts'
import { startBackground } from './background.ts'
import { watchFaults } from './faults/faults.ts'
import { extendLeases } from './jobs/jobs.ts'
import { importPharosToken } from './keys/keys.ts'
import { createMetricsPage, listenForMetrics, type MetricsListener } from './operations/operations.ts'
import type { Config } from './platform/config.ts'
import type { Context } from './platform/context.ts'
import { mayChangeAuditTables } from './platform/db/runtime-role.ts'
import { openWindows } from './platform/limits/open-windows.ts'
import type { Windows } from './platform/limits/windows.ts'
import { createLogger, type Logger, openStandardError } from './platform/logger.ts'
import { openContext } from './platform/open-context.ts'
import { closeIndexes, sweepIndexes } from './search/search.ts'

export interface Server {
  readonly ctx: Context
  readonly url: string
  /** The one-time setup token, while nobody has used it. */
  readonly setupToken: string | null
  /** Finishes the requests under way, stops the timers, closes the database. Stopping twice is one stop. */
  stop(): Promise<void>
}

const stopWithinMs = 20_000

/** Starts the control plane: configuration → context → app → listening. A start that fails anywhere leaves nothing open: no half a server stays that nobody waits for. */
export async function startServer(config: Config, log = createLogger(openStandardError())): Promise<Server> {
  // Before anything is opened: a damaged list is a refused configuration.
  openBlocklist(config)
  const opened = new AsyncDisposableStack()
  try {
    return await open(config, log, opened)
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

/** What it opens is closed in the reverse order: the requests first, the database last. */
async function open(config: Config, log: Logger, opened: AsyncDisposableStack): Promise<Server> {
  const ctx = await openContext(config, watchFaults(log))
  let stopBackground = async (): Promise<void> => {}
  opened.defer(() => ctx.db.close())
  opened.defer(() => closeIndexes(ctx))
  opened.defer(async () => ctx.tracer?.close())
  opened.defer(() => stopBackground())
  opened.defer(() => ctx.net.close())
  opened.defer(() => ctx.mail.close())
  await equalizePasswordWork(ctx)
  const setupToken = await ensureSetupToken(ctx)
  await importPharosToken(ctx)
  await extendLeases(ctx)
  // Before any claim: after a restored backup a fencing token may be given out again while an old index of that number lies there.
  await sweepIndexes(ctx)
  if (ctx.db.dialect === 'postgres' && (await mayChangeAuditTables(ctx.db))) log.warn({ event: 'audit_not_protected' })
  // For whoever operates it to see: these places are reached by whatever address somebody gives a webhook.
  const { listed } = config.egress
  if (listed.length > 0) log.warn({ event: 'egress_opened', name: listed.join(' '), count: listed.length })
  const windows = await openWindows(ctx)
  opened.defer(() => windows.close())
  const metrics = await openMetrics(ctx, windows)
  opened.defer(async () => metrics?.close())
  const app = createApp(ctx, undefined, undefined, windows)
  opened.defer(() => app.close())
  await app.listen({ host: config.host, port: config.port })
  stopBackground = startBackground(ctx)
  let stopping: Promise<void> | undefined
  return {
    ctx,
    url: addressOf(app.server.address(), config),
    setupToken,
    stop: () => {
      stopping ??= opened.disposeAsync()
      return stopping
    },
  }
}

async function openMetrics(ctx: Context, windows: Windows): Promise<MetricsListener | undefined> {
  const { metricsListener } = ctx.config.observability
  if (metricsListener === null) return undefined
  const listener = await listenForMetrics(metricsListener, createMetricsPage(ctx, windows))
  ctx.log.info({ event: 'metrics_served', url: listener.url })
  return listener
}

function addressOf(address: ReturnType<import('node:net').Server['address']>, config: Config): string {
  if (address === null || typeof address === 'string') return config.publicUrl
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
}

/** Runs the server until it is told to stop. When it listens, prints one JSON line on stdout and, before the first account exists, how to make it on stderr. */
export async function serveUntilStopped(config: Config, log?: Logger): Promise<Server> {
  const server = await startServer(config, log)
  // Before anyone is told that it listens: who reads the line may stop us in the same moment.
  const { logFile } = config.observability
  // With a log file SIGHUP asks to open it anew.
  const skip = logFile === null ? [] : (['SIGHUP'] as const)
  closeWithGrace({ delay: stopWithinMs, logger: false, skip: [...skip] }, async ({ err, signal }) => {
    if (err) server.ctx.log.error({ event: 'crashed' }, err)
    server.ctx.log.info({ event: 'stopping', signal: signal ?? null })
    await server.stop()
    server.ctx.log.info({ event: 'stopped' })
    await server.ctx.log.flush()
  })
  process.stdout.write(`${JSON.stringify({ event: 'listening', url: server.url })}\n`)
  if (server.setupToken !== null) process.stderr.write(setupHint(server.url, server.setupToken))
  return server
}

function setupHint(url: string, token: string): string {
  return `
Nobody has an account yet. Create the first one, the admin's, in a browser or on the command line:

  ${url}/setup#${token}
  npx hivesync setup --server ${url} --setup-token ${token}

`
}

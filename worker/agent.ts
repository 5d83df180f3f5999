import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { runClaimLoop } from './claim/claim-loop.ts'
import { createIdleWatch } from './claim/idle.ts'
import { openSelfReport } from './claim/self-report.ts'
import type { Clock } from './clock.ts'
import type { WorkerConfig } from './config.ts'
import type { Identity } from './enrol/identity.ts'
import { keepKeysFresh } from './enrol/keep-keys-fresh.ts'
import { confirmMove } from './enrol/move.ts'
import { createSha256, type Random } from './enrol/random.ts'
import { createKeyRing } from './enrol/rotate.ts'
import { signOff } from './enrol/sign-off.ts'
import { defaultIngestSettings } from './fetch/ingest-settings.ts'
import type { IsolationState } from './isolation.ts'
import type { Logger } from './logger.ts'
import { createMetrics, type Metrics, timed } from './metrics/metrics.ts'
import { openMetrics } from './metrics/serve.ts'
import { runHeartbeat } from './report/heartbeat.ts'
import type { Transport } from './report/http-transport.ts'
import { gatherLeaseCalls } from './report/lease-calls.ts'
import { createLeases } from './report/leases.ts'
import { type Outbox, openOutbox } from './report/outbox.ts'
import { createServerClient, type ServerClient } from './report/server-client.ts'
import { createServerTime } from './report/server-time.ts'
import type { CutOff } from './report/signed-call.ts'
import { findNodeMount, type NodeMount } from './run/node-mount.ts'
import { type JobRunner, runJob } from './run/run-job.ts'

/** How long the last completions are tried for; what the server does not take by then is delivered at the next start. */
const farewellMs = 5_000

export interface AgentOptions {
  config: WorkerConfig
  identity: Identity
  transport: Transport
  isolation: IsolationState
  clock: Clock
  random: Random
  log: Logger
  version: string
  /** Aborted by the first signal: take no more jobs and let the running ones end, for as long as the configuration allows. */
  drain: AbortSignal
  /** Aborted by the second: give the running jobs back at once. */
  hurry: AbortSignal
}

/** Why the agent ended, unless it was told to or had nothing to do. */
export interface AgentEnd {
  /** The server has cut this worker off. */
  cutOff: CutOff | undefined
  /** It had nothing to do because this machine can run no jobs. */
  trouble?: string
}

/**
 * Works for the server until told to stop, or idle for as long as the configuration says. When it resolves no job runs and
 * every end that was reached is delivered or on disk; an ephemeral worker that has delivered all of them has signed off.
 */
export async function runAgent(options: AgentOptions): Promise<AgentEnd> {
  const { config, clock, log } = options
  let cutOff: CutOff | undefined
  const revoked = new AbortController()
  const ended = new AbortController()
  const time = createServerTime({ clock, log })
  const ring = createKeyRing(options.identity)
  const onCutOff = (reason: CutOff) => {
    cutOff ??= reason
    revoked.abort(new Error('the server has cut this worker off'))
  }
  const stop = AbortSignal.any([options.drain, revoked.signal])
  const leases = createLeases({ clock, log })
  const requestIdOf = (token: number) => leases.find(token)?.claim.requestId
  const client = gatherLeaseCalls(
    createServerClient({ ...options, identity: ring, time, onCutOff, requestIdOf }),
    ended.signal,
  )
  let identity: Identity
  try {
    // Not by our own signal: what the server says decides, not that it said it.
    identity = await confirmMove({ ...options, client, signal: options.drain })
  } catch (error) {
    if (cutOff === 'worker_key_expired') return { cutOff }
    throw error
  }
  const keys = await keepKeysFresh({ ...options, identity, dataDir: config.dataDir, ring, client, signal: stop })
  const metrics = createMetrics()
  const parts = jobParts(options, metrics)
  let delivered = Promise.withResolvers<void>()
  const announce = () => {
    idle.touch()
    delivered.resolve()
    delivered = Promise.withResolvers()
  }
  const opened = await openOutbox({ ...options, dataDir: config.dataDir, client, onDelivered: announce })
  const outbox = counted(opened, metrics)
  const runner: JobRunner = { ...options, client, leases, outbox, ...parts }
  const running = new Set<Promise<void>>()
  const idle = createIdleWatch(clock, () => leases.size + outbox.size + running.size)
  const onClaim = (claim: Claim) => {
    const job = runJob(runner, claim).finally(() => {
      running.delete(job)
      idle.touch()
    })
    running.add(job)
    idle.touch()
  }
  const says = await openSelfReport({ ...options, time, place: parts.findSandbox() })
  const endpoint = await openMetrics(options, metrics, {
    ...{ says, time },
    running: () => leases.size,
    undelivered: () => outbox.size,
  })
  const beating = runHeartbeat({ ...options, client, leases, undelivered: outbox.tokens, signal: ended.signal })
  const how = await runClaimLoop({
    ...options,
    client,
    report: async () => {
      await keys.changeIfRequested()
      return says.report()
    },
    freeSlots: () => Math.max(0, config.slots - leases.size - outbox.size),
    nextFreeSlot: (signal) => Promise.race([leases.nextChange(signal), delivered.promise]),
    onKeyDue: keys.change,
    onClaim,
    onReady: () => announceReady(options),
    exitWhenIdle: config.exitWhenIdleMs === null ? undefined : { afterMs: config.exitWhenIdleMs, watch: idle },
    signal: stop,
  })
  if (how === 'idle') log.info('worker_idle', { durationMs: Math.round(idle.idleMs() ?? 0) })
  if (revoked.signal.aborted) leases.stopAll('lost')
  else await drainJobs(options, leases, running, revoked.signal)
  await Promise.all(running)
  if (!revoked.signal.aborted) await farewell(clock, outbox, revoked.signal)
  // Who signs off is refused from then on, which is no news.
  const end = endOf(cutOff, how === 'idle' ? says.trouble : undefined)
  if (identity.ephemeral && !revoked.signal.aborted) await leave(options, identity, client, outbox)
  ended.abort(new Error('the worker is stopping'))
  await outbox.close()
  await beating
  await endpoint?.close()
  log.info('worker_stopped', { count: outbox.size })
  return end
}

const endOf = (cutOff: CutOff | undefined, trouble: string | undefined): AgentEnd =>
  trouble === undefined ? { cutOff } : { cutOff, trouble }

/** An ephemeral worker goes for good; one whose results the server could not take keeps its identity, to deliver them at its next start. */
async function leave(options: AgentOptions, identity: Identity, client: ServerClient, outbox: Outbox): Promise<void> {
  const reason = 'results wait for the server'
  if (outbox.size > 0) options.log.warn('not_signed_off', { workerId: identity.workerId, count: outbox.size, reason })
  else await signOff({ ...options, dataDir: options.config.dataDir, identity, client })
}

/** The outbox, counting the ends that are put into it. */
function counted(outbox: Outbox, metrics: Metrics): Outbox {
  return {
    tokens: outbox.tokens,
    get size() {
      return outbox.size
    },
    put(record, before) {
      metrics.jobEnded(record.completion.outcome)
      return outbox.put(record, before)
    },
    drained: outbox.drained,
    close: outbox.close,
  }
}

function jobParts(
  { config, isolation, clock }: AgentOptions,
  metrics: Metrics,
): Pick<JobRunner, 'createDigest' | 'findSandbox' | 'ingest'> {
  let nodeMount: { found: NodeMount | undefined } | undefined
  return {
    createDigest: createSha256,
    findSandbox() {
      const { sandbox } = isolation
      if (sandbox === undefined) return undefined
      nodeMount ??= { found: findNodeMount(sandbox.node) }
      return { sandbox: timed(sandbox, clock, metrics), nodeMount: nodeMount.found }
    },
    ingest: {
      dataDir: config.dataDir,
      allowHosts: config.allowHosts,
      settings: {
        ...defaultIngestSettings,
        privateHosts: config.privateHosts,
        localRepos: config.localRepos,
        ...(config.caFile !== null && { caFile: config.caFile }),
      },
    },
  }
}

function announceReady({ log, identity, config, isolation, version }: AgentOptions): void {
  log.info('worker_ready', {
    ...{ workerId: identity.workerId, name: identity.name, server: config.server, version, slots: config.slots },
    isolation: isolation.level,
  })
  if (isolation.level === 'none') log.error('jobs_refused', { reason: 'this machine has no working sandbox' })
}

/** Waits for running jobs, as long as they may drain or until the second signal; then they are stopped and go back to the queue. */
async function drainJobs(
  { clock, config, hurry, log }: AgentOptions,
  leases: ReturnType<typeof createLeases>,
  running: ReadonlySet<Promise<void>>,
  revoked: AbortSignal,
): Promise<void> {
  if (running.size === 0) return
  log.info('worker_draining', { count: running.size })
  const done = new AbortController()
  const all = Promise.all(running).then(() => done.abort())
  const waiting = AbortSignal.any([done.signal, hurry, revoked])
  await clock.wait(config.drainMs, waiting)
  leases.stopAll(revoked.aborted ? 'lost' : 'returned')
  await all
}

async function farewell(
  clock: Clock,
  outbox: { drained(signal: AbortSignal): Promise<void> },
  revoked: AbortSignal,
): Promise<void> {
  const late = new AbortController()
  const done = new AbortController()
  void clock.wait(farewellMs, done.signal).then(() => late.abort())
  await outbox.drained(AbortSignal.any([late.signal, revoked]))
  done.abort()
}

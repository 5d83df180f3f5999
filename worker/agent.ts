import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { runClaimLoop } from './claim/claim-loop.ts'
import { openSelfReport } from './claim/self-report.ts'
import type { Clock } from './clock.ts'
import type { WorkerConfig } from './config.ts'
import type { Identity } from './enrol/identity.ts'
import { keepKeysFresh } from './enrol/keep-keys-fresh.ts'
import { confirmMove } from './enrol/move.ts'
import { createSha256, type Random } from './enrol/random.ts'
import { createKeyRing } from './enrol/rotate.ts'
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
import { createServerClient } from './report/server-client.ts'
import { createServerTime } from './report/server-time.ts'
import type { CutOff } from './report/signed-call.ts'
import { findNodeMount, type NodeMount } from './run/node-mount.ts'
import { type JobRunner, runJob } from './run/run-job.ts'

/** How long running jobs may go on after the first signal before they are given back. */
const drainMs = 30_000
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
  /** Aborted by the first signal: take no more jobs and let the running ones end, for 30 s at most. */
  drain: AbortSignal
  /** Aborted by the second: give the running jobs back at once. */
  hurry: AbortSignal
}

/**
 * Works for the server until told to stop; answers why the server has cut this worker off, if it has. When it resolves no job
 * runs and every end that was reached is delivered or on disk.
 */
export async function runAgent(options: AgentOptions): Promise<{ cutOff: CutOff | undefined }> {
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
  const client = gatherLeaseCalls(createServerClient({ ...options, identity: ring, time, onCutOff }), ended.signal)
  const identity = await confirmMove({ ...options, client, signal: stop })
  const keys = await keepKeysFresh({ ...options, identity, dataDir: config.dataDir, ring, client, signal: stop })
  const leases = createLeases({ clock, log })
  const metrics = createMetrics()
  const parts = jobParts(options, metrics)
  let delivered = Promise.withResolvers<void>()
  const announce = () => {
    delivered.resolve()
    delivered = Promise.withResolvers()
  }
  const opened = await openOutbox({ ...options, dataDir: config.dataDir, client, onDelivered: announce })
  const outbox = counted(opened, metrics)
  const runner: JobRunner = { ...options, client, leases, outbox, ...parts }
  const running = new Set<Promise<void>>()
  const onClaim = (claim: Claim) => {
    const job = runJob(runner, claim).finally(() => running.delete(job))
    running.add(job)
  }
  const says = await openSelfReport({ ...options, time, place: parts.findSandbox() })
  const endpoint = await openMetrics(options, metrics, {
    ...{ says, time },
    running: () => leases.size,
    undelivered: () => outbox.size,
  })
  const beating = runHeartbeat({ ...options, client, leases, undelivered: outbox.tokens, signal: ended.signal })
  await runClaimLoop({
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
    signal: stop,
  })
  if (revoked.signal.aborted) leases.stopAll('lost')
  else await drainJobs(options, leases, running, revoked.signal)
  await Promise.all(running)
  if (!revoked.signal.aborted) await farewell(clock, outbox, revoked.signal)
  ended.abort(new Error('the worker is stopping'))
  await outbox.close()
  await beating
  await endpoint?.close()
  log.info('worker_stopped', { count: outbox.size })
  return { cutOff }
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

/** Waits for running jobs, 30 s or until the second signal; then they are stopped and go back to the queue. */
async function drainJobs(
  { clock, hurry, log }: AgentOptions,
  leases: ReturnType<typeof createLeases>,
  running: ReadonlySet<Promise<void>>,
  revoked: AbortSignal,
): Promise<void> {
  if (running.size === 0) return
  log.info('worker_draining', { count: running.size })
  const done = new AbortController()
  const all = Promise.all(running).then(() => done.abort())
  const waiting = AbortSignal.any([done.signal, hurry, revoked])
  await clock.wait(drainMs, waiting)
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

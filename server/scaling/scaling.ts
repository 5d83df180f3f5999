import type { QueueLoad } from '@hivesync/contracts/scaling.ts'
import type { Context } from '../platform/context.ts'
import { gaugeGroup } from '../platform/gauges.ts'
import {
  desiredSlots,
  estimateLoad,
  needsScaleIn,
  needsScaleOut,
  type Sample,
  scalingSettings,
  weightedMean,
} from './decision.ts'
import { poolFigures } from './pool-figures.ts'
import {
  countQueued,
  type Head,
  listDurations,
  listHeads,
  listPools,
  listPoolWorkers,
  listRunning,
  type PoolWorker,
} from './queries.ts'

/** How often every pool is looked at; `samplesToGrow` looks take ten seconds. */
export const sampleEveryMs = 5000

interface History {
  samples: Sample[]
  /** When each worker was last seen busy, or first seen. */
  busyAt: Map<string, number>
}
const histories = new WeakMap<Context, Map<string, History>>()

function historyOf(ctx: Context, pool: string): History {
  const pools = histories.get(ctx) ?? new Map<string, History>()
  histories.set(ctx, pools)
  const history = pools.get(pool) ?? { samples: [], busyAt: new Map() }
  pools.set(pool, history)
  return history
}

/** Looks at every pool in use, for the decisions that need to have watched for a while. A pool that nobody uses any more is forgotten. */
export async function sampleLoad(ctx: Context): Promise<void> {
  const pools = await listPools(ctx.db.kysely)
  for (const known of histories.get(ctx)?.keys() ?? []) if (!pools.includes(known)) histories.get(ctx)?.delete(known)
  for (const pool of pools) {
    const figures = await measure(ctx, pool)
    const history = historyOf(ctx, pool)
    const oldest = figures.at - (scalingSettings.calmSeconds * 1000 + 2 * sampleEveryMs)
    history.samples = [...history.samples.filter(({ at }) => at >= oldest), sampleOf(figures)]
    noteBusy(history, figures)
  }
}

/** The load of a pool as it is now, and what the looks of the last minutes say of its size. */
export async function readLoad(ctx: Context, pool: string): Promise<QueueLoad> {
  const figures = await measure(ctx, pool)
  const { samples, busyAt } = histories.get(ctx)?.get(pool) ?? { samples: [], busyAt: new Map<string, number>() }
  const idle = figures.workers
    .filter(({ id }) => !figures.busy.has(id))
    .map(({ id, slots }) => ({ workerId: id, slots, idleSince: busyAt.get(id) ?? figures.at }))
  const isGrowing = needsScaleOut([...samples, sampleOf(figures)])
  const drainable = isGrowing ? [] : needsScaleIn(samples, idle)
  const busySlots = figures.workers.reduce((sum, { id }) => sum + (figures.busy.get(id) ?? 0), 0)
  return {
    pool,
    queued: figures.queued,
    running: figures.running,
    oldestQueuedSeconds: figures.oldestQueuedSeconds,
    estimatedLoad: Math.round(figures.load * 1000) / 1000,
    desiredSlots: desiredSlots(figures.load),
    needsScaleOut: isGrowing,
    needsScaleIn: drainable.length > 0,
    drainable,
    slots: figures.slots,
    freeSlots: Math.max(0, figures.slots - busySlots),
    drainingSlots: figures.drainingSlots,
    unplaceable: figures.unplaceable,
  }
}

/** The load of every pool in use, for Prometheus. */
export async function readLoads(ctx: Context): Promise<QueueLoad[]> {
  return Promise.all((await listPools(ctx.db.kysely)).map((pool) => readLoad(ctx, pool)))
}

/** The load of every pool in use. The only label is the pool, which operators name; one that is gone has no figures any more. */
export const poolGauges = gaugeGroup({
  name: 'pools',
  families: Object.fromEntries(Object.entries(poolFigures).map(([name, [help]]) => [name, help])),
  async read(ctx) {
    const loads = await readLoads(ctx)
    return Object.entries(poolFigures).flatMap(([name, [, read]]) =>
      loads.map((load) => ({ name, labels: { pool: load.pool }, value: read(load) })),
    )
  },
})

type Figures = Awaited<ReturnType<typeof measure>>

async function measure(ctx: Context, pool: string) {
  const db = ctx.db.kysely
  const at = ctx.clock.now()
  const all = await listPoolWorkers(db, pool, at)
  const running = await listRunning(db, pool)
  const heads = await listHeads(db, pool, at)
  const meanSeconds = meansOf(await listDurations(db))
  const placeable = heads.filter((head) => isPlaceable(head, all))
  const startable = withinLimits(placeable)
  const workers = all.filter((worker) => worker.isOnline && takesJobs(worker) && worker.drainingAt === null)
  const draining = all.filter((worker) => worker.isOnline && worker.drainingAt !== null)
  const busy = new Map<string, number>()
  for (const { workerId } of running) busy.set(workerId, (busy.get(workerId) ?? 0) + 1)
  const work = {
    queued: startable.map(({ kind }) => ({ kind, count: 1 })),
    running: running.map(({ kind, claimedAt }) => ({ kind, elapsedSeconds: Math.max(0, at - claimedAt) / 1000 })),
    meanSeconds,
  }
  return {
    at,
    workers,
    busy,
    queued: heads.length === 0 ? 0 : await countQueued(db, pool, at),
    running: running.length,
    load: estimateLoad(work),
    oldestQueuedSeconds: Math.max(0, ...startable.map(({ runAt }) => at - runAt)) / 1000,
    slots: slotsOf(workers),
    drainingSlots: slotsOf(draining),
    unplaceable: heads.length - placeable.length,
  }
}

const slotsOf = (workers: readonly PoolWorker[]): number => workers.reduce((sum, { slots }) => sum + slots, 0)
const takesJobs = ({ isSafe, refusing }: PoolWorker): boolean => isSafe && refusing === null
const sampleOf = ({ at, load, oldestQueuedSeconds, slots }: Figures): Sample => ({
  at,
  load,
  oldestQueuedSeconds,
  slots,
})

/** Whether any worker of the pool, at work or away, could take it. A pool without workers is one that a scaler has yet to fill: any job without labels counts there. */
function isPlaceable(head: Head, workers: readonly PoolWorker[]): boolean {
  if (workers.length === 0) return head.labels.length === 0
  return workers.some(
    ({ teamId, kinds, labels }) =>
      (teamId === null || teamId === head.teamId) &&
      (kinds.length === 0 || kinds.includes(head.kind)) &&
      head.labels.every((label) => labels.includes(label)),
  )
}

/** Of each team only as many as it may still run: more workers would not help the rest. */
function withinLimits(heads: readonly Head[]): Head[] {
  const taken = new Map<string, number>()
  return heads.filter(({ teamId, free }) => {
    const count = (taken.get(teamId) ?? 0) + 1
    taken.set(teamId, count)
    return count <= free
  })
}

function meansOf(durations: readonly { kind: string; seconds: number }[]): Record<string, number> {
  const kinds = [...new Set(durations.map(({ kind }) => kind))]
  return Object.fromEntries(
    kinds.map((kind) => [
      kind,
      weightedMean(durations.filter((each) => each.kind === kind).map(({ seconds }) => seconds)) ?? 0,
    ]),
  )
}

function noteBusy(history: History, { at, workers, busy }: Figures): void {
  const busyAt = new Map<string, number>()
  for (const { id } of workers) busyAt.set(id, busy.has(id) ? at : (history.busyAt.get(id) ?? at))
  history.busyAt = busyAt
}

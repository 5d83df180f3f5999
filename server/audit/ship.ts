import type { Context } from '../platform/context.ts'
import { sinkDeliveries } from './gauges.ts'
import { leafText } from './leaf.ts'
import { countLeaves, findFirstSeq, listCheckpoints, listLeaves } from './queries.ts'
import { createSink, type ShippedItem, type Sink } from './sink.ts'

const batchLeaves = 500
const maxBatches = 40
const maxCheckpoints = 1000
/** Longer than any delivery takes: another replica goes on when this one has died. */
const leaseMs = 60_000
const maxPauseMs = 30_000

interface Shipping {
  readonly sink: Sink
  /** Names this process in the lease. */
  readonly owner: string
  failures: number
  pauseUntil: number
}

const states = new WeakMap<Context, Shipping>()

function stateOf(ctx: Context, create: (ctx: Context) => Sink): Shipping {
  const known = states.get(ctx)
  if (known !== undefined) return known
  const state = { sink: create(ctx), owner: ctx.random.id(), failures: 0, pauseUntil: 0 }
  states.set(ctx, state)
  return state
}

const configured = (ctx: Context): Sink => {
  const { sink } = ctx.config.audit
  if (sink === null) throw new Error('there is no sink for the audit log')
  return createSink(ctx, sink)
}

/**
 * Sends what the sink of `HIVESYNC_AUDIT_SINK` does not have yet: leaves and checkpoints in the order of the log, at least once, by one replica at a time. How
 * far it has got is kept in the database; the log itself is the spool, so that a sink that is away costs nothing but its lag.
 */
export async function shipAudit(ctx: Context, create: (ctx: Context) => Sink = configured): Promise<void> {
  if (ctx.config.audit.sink === null && create === configured) return
  const state = stateOf(ctx, create)
  if (Math.abs(state.pauseUntil - ctx.clock.now()) <= maxPauseMs && ctx.clock.now() < state.pauseUntil) return
  if (!(await takeLease(ctx, state))) return
  try {
    for (let batch = 0; batch < maxBatches; batch++) if (!(await shipBatch(ctx, state))) break
    if (state.failures > 0) ctx.log.info({ event: 'audit_sink_back', name: state.sink.name, count: state.failures })
    state.failures = 0
  } catch (error) {
    ctx.metrics.count(sinkDeliveries, { outcome: 'failed' })
    state.failures++
    state.pauseUntil = ctx.clock.now() + Math.min(maxPauseMs, 1000 * 2 ** Math.min(state.failures - 1, 10))
    // The first at once, then as often as it is tried again: at least every half minute.
    ctx.log.error({ event: 'audit_sink_failed', name: state.sink.name, count: state.failures }, error)
  }
}

async function takeLease(ctx: Context, { sink, owner }: Shipping): Promise<boolean> {
  const now = ctx.clock.now()
  const row = { sink: sink.name, nextSeq: 0, nextCheckpoint: 0, owner: null, leaseUntil: 0 }
  const { kysely } = ctx.db
  await kysely
    .insertInto('auditShipping')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const { numUpdatedRows } = await kysely
    .updateTable('auditShipping')
    .set({ owner, leaseUntil: now + leaseMs })
    .where('sink', '=', sink.name)
    .where((eb) =>
      eb.or([
        eb('owner', '=', owner),
        eb('leaseUntil', '<', now),
        // One that ends far ahead was taken by a clock that was wrong.
        eb('leaseUntil', '>', now + 2 * leaseMs),
        // Of a SQLite file one process serves: whoever held it is dead.
        ...(ctx.db.dialect === 'sqlite' ? [eb('sink', '=', sink.name)] : []),
      ]),
    )
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** False when the sink has everything. */
async function shipBatch(ctx: Context, { sink, owner }: Shipping): Promise<boolean> {
  const { kysely } = ctx.db
  const cursor = await kysely
    .selectFrom('auditShipping')
    .select(['nextSeq', 'nextCheckpoint'])
    .where('sink', '=', sink.name)
    .executeTakeFirstOrThrow()
  // A sink that is new may find that the beginning was pruned.
  const start = Math.max(cursor.nextSeq, (await findFirstSeq(kysely)) ?? 0)
  const end = Math.min(await countLeaves(kysely), start + batchLeaves)
  const { items, lastCheckpoint } = await itemsOf(ctx, start, end, cursor.nextCheckpoint)
  if (items.length === 0) return false
  await sink.deliver(items)
  ctx.metrics.count(sinkDeliveries, { outcome: 'succeeded' })
  const { numUpdatedRows } = await kysely
    .updateTable('auditShipping')
    .set({ nextSeq: end, nextCheckpoint: lastCheckpoint, leaseUntil: ctx.clock.now() + leaseMs })
    .where('sink', '=', sink.name)
    .where('owner', '=', owner)
    .executeTakeFirst()
  // Another has taken over, after a delivery that took longer than the lease: it sends this again.
  return numUpdatedRows > 0n
}

/** Leaves and, behind the leaf it ends with, each checkpoint above the last that was sent. One signed later than its leaf was sent comes with the next. */
async function itemsOf(ctx: Context, start: number, end: number, after: number) {
  const { kysely } = ctx.db
  const leaves = await listLeaves(kysely, start, end)
  const checkpoints = (await listCheckpoints(kysely, after, maxCheckpoints)).filter(({ size }) => size <= end)
  const items: ShippedItem[] = []
  let next = 0
  const addCheckpoints = (upTo: number): void => {
    for (; (checkpoints[next]?.size ?? Number.POSITIVE_INFINITY) <= upTo; next++) {
      const { size, at, note } = checkpoints[next] ?? { size: 0, at: 0, note: '' }
      items.push({ kind: 'checkpoint', seq: size - 1, at, line: JSON.stringify({ checkpoint: note }) })
    }
  }
  addCheckpoints(start)
  for (const { seq, event } of leaves) {
    // Gone from the database: what is left of the log goes on, and the verification finds the hole on both sides.
    const line = event === undefined ? JSON.stringify({ seq, leaf: null }) : `{"seq":${seq},"leaf":${leafText(event)}}`
    items.push({ kind: 'leaf', seq, at: event?.at ?? ctx.clock.now(), line })
    addCheckpoints(seq + 1)
  }
  return { items, lastCheckpoint: checkpoints[next - 1]?.size ?? after }
}

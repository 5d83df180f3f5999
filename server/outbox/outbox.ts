import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdateSkipLocked } from '../platform/db/dialect.ts'
import { oneOf, run, statement } from '../platform/db/statement.ts'

/** Something that happened and was committed. */
export interface OutboxEvent {
  readonly at: number
  readonly topic: string
  readonly teamId: string | null
  readonly payload: Readonly<Record<string, unknown>>
}

/** Hears of each event exactly once, for what it makes of it is committed together with its going. */
export interface OutboxConsumer {
  /** How many of the events, from the first on, one transaction should take; the first is taken in any case. */
  countFitting(tx: Db, events: readonly OutboxEvent[]): Promise<number>
  /** Keeps what it needs of the events, in the transaction that takes them out of the outbox, and does nothing else. */
  consume(ctx: Context, tx: Db, events: readonly OutboxEvent[]): Promise<void>
}

/** Told of events after their commit, for what need not survive the process. */
export type OutboxListener = (ctx: Context, events: readonly OutboxEvent[]) => void

/** Events that are read at once, and handed out in one transaction unless a consumer takes fewer. */
const batch = 200

/**
 * Hands what is in the outbox to every consumer, in the order of its writing, and takes it out. A process that dies meanwhile has handed out nothing; of several one
 * is at it. Answers how many events there were.
 */
export async function consumeOutbox(
  ctx: Context,
  consumers: readonly OutboxConsumer[],
  listeners: readonly OutboxListener[] = [],
): Promise<number> {
  for (let consumed = 0; ; ) {
    // Mostly there is nothing, and that needs no transaction. By the index, which knows what is deleted and not yet vacuumed.
    const first = await ctx.db.kysely.selectFrom('outbox').select('seq').orderBy('seq').limit(1).executeTakeFirst()
    if (first === undefined) return consumed
    const { events, isLast } = await ctx.db.transaction((tx) => consumeBatch(ctx, tx, consumers))
    for (const listen of listeners) listen(ctx, events)
    consumed += events.length
    if (isLast) return consumed
  }
}

async function consumeBatch(
  ctx: Context,
  tx: Db,
  consumers: readonly OutboxConsumer[],
): Promise<{ events: OutboxEvent[]; isLast: boolean }> {
  const turn = await forUpdateSkipLocked(tx, tx.selectFrom('outboxTurn').select('id')).executeTakeFirst()
  if (turn === undefined) return { events: [], isLast: true }
  const rows = await tx.selectFrom('outbox').selectAll().orderBy('seq').limit(batch).execute()
  if (rows.length === 0) return { events: [], isLast: true }
  const read = rows.map(({ at, topic, teamId, payload }) => ({ at, topic, teamId, payload: JSON.parse(payload) }))
  let fitting = read.length
  for (const consumer of consumers) fitting = Math.min(fitting, await consumer.countFitting(tx, read))
  const events = read.slice(0, Math.max(1, fitting))
  for (const consumer of consumers) await consumer.consume(ctx, tx, events)
  // By their numbers, not up to the last: a smaller one may be committed after we looked.
  const seqs = rows.slice(0, events.length).map(({ seq }) => seq)
  await run(tx, statement`delete from outbox where seq ${oneOf('bigint', seqs)}`)
  return { events, isLast: events.length === rows.length && rows.length < batch }
}

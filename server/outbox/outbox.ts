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

/** Keeps what it needs of the events, in the transaction that takes them out of the outbox, and does nothing else: so each hears of each event exactly once. */
export type OutboxConsumer = (ctx: Context, tx: Db, events: readonly OutboxEvent[]) => Promise<void>

/** Told of events after their commit, for what need not survive the process. */
export type OutboxListener = (ctx: Context, events: readonly OutboxEvent[]) => void

/** Each may become a row for hundreds of endpoints, and all of them are one transaction. */
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
    const events = await ctx.db.transaction((tx) => consumeBatch(ctx, tx, consumers))
    for (const listen of listeners) listen(ctx, events)
    consumed += events.length
    if (events.length < batch) return consumed
  }
}

async function consumeBatch(ctx: Context, tx: Db, consumers: readonly OutboxConsumer[]): Promise<OutboxEvent[]> {
  const turn = await forUpdateSkipLocked(tx, tx.selectFrom('outboxTurn').select('id')).executeTakeFirst()
  if (turn === undefined) return []
  const rows = await tx.selectFrom('outbox').selectAll().orderBy('seq').limit(batch).execute()
  if (rows.length === 0) return []
  const events = rows.map(({ at, topic, teamId, payload }) => ({ at, topic, teamId, payload: JSON.parse(payload) }))
  for (const consume of consumers) await consume(ctx, tx, events)
  // By their numbers, not up to the last: a smaller one may be committed after we looked.
  const seqs = rows.map(({ seq }) => seq)
  await run(tx, statement`delete from outbox where seq ${oneOf('bigint', seqs)}`)
  return events
}

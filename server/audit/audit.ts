import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { insert, run, type Statement } from '../platform/db/statement.ts'

export { auditGauges, sinkDeliveries } from './gauges.ts'
export { listOwnEvents } from './own-events.ts'
export { eraseAuditSubject } from './subjects.ts'
export type { Verification } from './verify.ts'
export { verifyDatabase } from './verify-database.ts'

/** An act worth remembering: `details` hold ids, names and numbers only, never a secret, an email or a whole address (requirement K3). */
export interface Act {
  action: string
  outcome?: 'succeeded' | 'refused'
  target?: { kind: string; id: string }
  teamId?: string | null
  projectId?: string | null
  details?: Record<string, string | number | boolean | null>
}

/**
 * Records the act in the given transaction: it is remembered exactly when its effects are (requirement K1). Within about a second the sequencer makes it a
 * leaf of the Merkle tree, and seals the address where it is a person's.
 */
export async function recordAudit(ctx: Context, tx: Db, actor: Actor, act: Act): Promise<void> {
  await run(tx, insertAudits(ctx, [{ ...act, actor }]))
}

/** Puts an event into the outbox in the given transaction: it is delivered at least once after the commit, or never if there is none. */
export async function enqueueEvent(
  ctx: Context,
  tx: Db,
  event: { topic: string; teamId: string | null; payload: Record<string, unknown> },
): Promise<void> {
  await tx
    .insertInto('outbox')
    .values({ at: ctx.clock.now(), topic: event.topic, teamId: event.teamId, payload: JSON.stringify(event.payload) })
    .execute()
}

const auditColumns = {
  id: 'text',
  at: 'bigint',
  actorKind: 'text',
  actorId: 'text',
  teamId: 'text',
  projectId: 'text',
  action: 'text',
  targetKind: 'text',
  targetId: 'text',
  outcome: 'text',
  requestId: 'text',
  ip: 'text',
  details: 'text',
  subject: 'text',
} as const

/** The statement that records many acts as `recordAudit` does one, to run together with others. */
export function insertAudits(ctx: Context, acts: readonly (Act & { actor: Actor })[]): Statement {
  const at = ctx.clock.now()
  const rows = acts.map(({ actor, ...act }) => ({
    id: ctx.random.id(),
    at,
    actorKind: actor.kind,
    actorId: actor.id,
    teamId: act.teamId ?? null,
    projectId: act.projectId ?? null,
    action: act.action,
    targetKind: act.target?.kind ?? null,
    targetId: act.target?.id ?? null,
    outcome: act.outcome ?? 'succeeded',
    requestId: actor.requestId,
    ip: actor.ip,
    details: JSON.stringify(act.details ?? {}),
    subject: subjectOf(actor, act),
  }))
  return insert('audit_entries', auditColumns, rows)
}

/** Whose address it is: the actor's, and of somebody who is not yet proved to be anybody that of the account it is about. */
function subjectOf(actor: Actor, { target }: Act): string | null {
  if (actor.kind === 'nobody' && target?.kind === 'user') return target.id
  return actor.userId
}

const outboxColumns = { at: 'bigint', topic: 'text', teamId: 'text', payload: 'text' } as const

/** The statement that puts many events into the outbox as `enqueueEvent` does one, to run together with others. */
export function insertOutbox(
  ctx: Context,
  events: readonly { topic: string; teamId: string | null; payload: Record<string, unknown> }[],
): Statement {
  const at = ctx.clock.now()
  const rows = events.map(({ topic, teamId, payload }) => ({ at, topic, teamId, payload: JSON.stringify(payload) }))
  return insert('outbox', outboxColumns, rows)
}

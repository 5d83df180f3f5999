import { createCompactRange } from '@hivesync/protocol/merkle.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { run, statement } from '../platform/db/statement.ts'
import { recordAudit } from './audit.ts'
import { hashEvent } from './leaf.ts'
import { prunedAction } from './pruned.ts'
import { findFirstSeq, findLastCheckpoint, listLeaves } from './queries.ts'
import { AuditBroken, readSubtree, tileHeight, tileLeaves } from './tree.ts'

export const dayMs = 86_400_000
/** Segments in one transaction: 4,096 leaves, about as long as a batch of the sequencer. */
const segmentsAtOnce = 16

/**
 * Removes events and leaves older than that, in whole segments of 256 that a checkpoint covers and every sink has; their subtrees' roots stay, so that every
 * proof about what stays holds. Each segment is verified first: tampered evidence is not cleared away, it throws AuditBroken. Each step is an event of the log.
 */
export async function pruneAudit(ctx: Context, before: number): Promise<{ leaves: number; first: number }> {
  let leaves = 0
  for (;;) {
    const step = await ctx.db.transaction((tx) => pruneStep(ctx, tx, before))
    leaves += step.pruned
    if (step.pruned < segmentsAtOnce * tileLeaves) return { leaves, first: step.first }
  }
}

/** The background's part on SQLite; on PostgreSQL the server's role may not, and `hivesync audit prune` does it. */
export async function pruneByRetention(ctx: Context): Promise<void> {
  const { retentionDays } = ctx.config.audit
  if (retentionDays === null || ctx.db.dialect === 'postgres') return
  await pruneAudit(ctx, ctx.clock.now() - retentionDays * dayMs)
}

async function pruneStep(ctx: Context, tx: Db, before: number): Promise<{ pruned: number; first: number }> {
  await withLock(tx, 'audit-sequencer')
  const first = (await findFirstSeq(tx)) ?? 0
  const most = Math.min(await prunable(tx), first + segmentsAtOnce * tileLeaves)
  let end = first
  while (end + tileLeaves <= most && (await isOld(tx, end, before))) end += tileLeaves
  if (end === first) return { pruned: 0, first }
  await run(
    tx,
    statement`delete from audit_events where id in (select event_id from audit_leaves where seq >= ${first} and seq < ${end})`,
  )
  await run(tx, statement`delete from audit_leaves where seq < ${end}`)
  await recordAudit(ctx, tx, system, { action: prunedAction, details: { before: end, leaves: end - first } })
  return { pruned: end - first, first: end }
}

/** Up to where: what is signed, and what no sink still waits for. */
async function prunable(tx: Db): Promise<number> {
  const size = (await findLastCheckpoint(tx))?.size ?? 0
  const { next } = await tx
    .selectFrom('auditShipping')
    .select((eb) => eb.fn.min('nextSeq').as('next'))
    .executeTakeFirstOrThrow()
  return Math.min(size, next ?? size)
}

async function isOld(tx: Db, start: number, before: number): Promise<boolean> {
  const leaves = await listLeaves(tx, start, start + tileLeaves)
  const segment = createCompactRange()
  for (const { seq, event, hash } of leaves) {
    const computed = event === undefined ? undefined : hashEvent(event)
    if (computed?.toString('base64') !== hash) throw new AuditBroken(`leaf ${seq} is not what was recorded`)
    segment.append(computed)
  }
  const root = await readSubtree(tx, { height: tileHeight, index: start / tileLeaves })
  if (leaves.length !== tileLeaves || !segment.root().equals(root))
    throw new AuditBroken(`the leaves from ${start} on are not those of their subtree`)
  return leaves.every(({ event }) => event !== undefined && event.at < before)
}

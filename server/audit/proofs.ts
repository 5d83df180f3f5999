import type { AuditCheckpoint, AuditConsistency, AuditProof } from '@hivesync/contracts/audit.ts'
import { writeVerifierKey } from '@hivesync/protocol/signed-note.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { requireTeam } from '../teams/teams.ts'
import { listVerifiers } from './keys.ts'
import { leafText } from './leaf.ts'
import {
  countLeaves,
  findCheckpointFrom,
  findFirstSeq,
  findLastCheckpoint,
  findLeafOfEvent,
  listLeaves,
} from './queries.ts'
import { sealAudit } from './sequence.ts'
import { AuditBroken, readConsistencyProof, readInclusionProof } from './tree.ts'

/** The newest signed head of the log. */
export async function getCheckpoint(ctx: Context): Promise<AuditCheckpoint> {
  const row = await findLastCheckpoint(ctx.db.kysely)
  if (row === undefined) throw new AppError('audit_empty')
  const verifiers = await listVerifiers(ctx.db.kysely)
  return {
    origin: row.note.split('\n', 1)[0] ?? '',
    size: row.size,
    root: row.root,
    at: isoTime(row.at),
    note: row.note,
    keys: verifiers.map(writeVerifierKey),
  }
}

/** Proves that an event is in the log; one that waits for its leaf gets it now. Somebody else's event does not exist. */
export async function proveInclusion(
  ctx: Context,
  actor: Actor,
  { eventId, size }: { eventId: string; size?: string | undefined },
): Promise<AuditProof> {
  const db = ctx.db.kysely
  await requireEvent(ctx, actor, eventId)
  let leaf = await findLeafOfEvent(db, eventId)
  if (leaf === undefined || (size === undefined && ((await findLastCheckpoint(db))?.size ?? 0) <= leaf.seq)) {
    await sealAudit(ctx)
    leaf = await findLeafOfEvent(db, eventId)
  }
  // More were waiting than one run takes: it comes with the next.
  if (leaf === undefined) throw new AppError('audit_event_not_found', { eventId })
  const treeSize = size === undefined ? ((await findLastCheckpoint(db))?.size ?? 0) : Number(size)
  if (treeSize <= leaf.seq || treeSize > (await countLeaves(db))) throw new AppError('audit_size_unknown')
  const [stored] = await listLeaves(db, leaf.seq, leaf.seq + 1)
  if (stored?.event === undefined) throw new AuditBroken(`the event of leaf ${leaf.seq} is gone`)
  const checkpoint = await findCheckpointFrom(db, treeSize)
  const hashes = await readInclusionProof(db, leaf.seq, treeSize)
  return {
    seq: leaf.seq,
    leaf: leafText(stored.event),
    size: treeSize,
    hashes: hashes.map((hash) => hash.toString('base64')),
    checkpoint: checkpoint?.size === treeSize ? checkpoint.note : null,
  }
}

async function requireEvent(ctx: Context, actor: Actor, eventId: string): Promise<void> {
  const event = await ctx.db.kysely
    .selectFrom('auditEvents')
    .select('teamId')
    .where('id', '=', eventId)
    .executeTakeFirst()
  const refused = new AppError('audit_event_not_found', { eventId })
  if (event === undefined) throw refused
  if (actor.isAdmin) return
  if (event.teamId === null) throw refused
  // Whether it exists is nobody else's to know: every refusal is the same.
  await requireTeam(ctx.db.kysely, actor, event.teamId, 'readAudit').catch((error: unknown) => {
    throw error instanceof AppError ? refused : error
  })
}

/** Proves that the log only grew from one size to another, the newest checkpoint's unless given. */
export async function proveConsistency(
  ctx: Context,
  query: { from: string; to?: string | undefined },
): Promise<AuditConsistency> {
  const db = ctx.db.kysely
  const from = Number(query.from)
  const to = query.to === undefined ? ((await findLastCheckpoint(db))?.size ?? 0) : Number(query.to)
  if (from > to || to > (await countLeaves(db))) throw new AppError('audit_size_unknown')
  try {
    const hashes = await readConsistencyProof(db, from, to)
    return { from, to, hashes: hashes.map((hash) => hash.toString('base64')) }
  } catch (error) {
    // Between two leaves that were pruned; of a log that was not, a hole is no answer but a fault.
    if (error instanceof AuditBroken && ((await findFirstSeq(db)) ?? 0) > 0) throw new AppError('audit_size_unknown')
    throw error
  }
}

import type { Db } from '../platform/db/db.ts'
import { insert, oneOf, only, run, type Statement, statement, text } from '../platform/db/statement.ts'
import type { LeafEvent } from './leaf.ts'

export interface LeafRow {
  seq: number
  eventId: string
  subject: string | null
  sealed: string | null
  hash: string
}

export interface NodeRow {
  level: number
  position: number
  hash: string
}

export type PendingEvent = Omit<LeafEvent, 'sealed'> & { address: string | null }

/**
 * What waits for its leaf, oldest first, with the address that is still to be sealed. Each event and leaf is looked up by itself, whatever the planner thinks
 * of a table that is empty most of the time: reading all of the log for each batch would be slower the longer it is.
 */
export function listPending(tx: Db, limit: number): Promise<PendingEvent[]> {
  // A row that came back after its event had its leaf, or whose event is gone, must not stop the others; the verification reports it.
  return run<PendingEvent>(
    tx,
    statement`select e.id, e.at, e.actor_kind, e.actor_id, e.team_id, e.project_id, e.action, e.target_kind, e.target_id, e.outcome, e.request_id, e.ip, e.details,
      p.subject, p.ip as address
      from (
        select event_id, subject, ip from audit_pending q
        where (select l.seq from audit_leaves l where l.event_id = q.event_id) is null
          and (select e.at from audit_events e where e.id = q.event_id) is not null
        order by event_id limit ${limit}
      ) p ${eventOf('p')} order by p.event_id`,
  )
}

/** Mostly there is nothing, and that needs no transaction. */
export async function hasPending(db: Db): Promise<boolean> {
  return (await db.selectFrom('auditPending').select('eventId').limit(1).executeTakeFirst()) !== undefined
}

export async function countPending(db: Db): Promise<number> {
  const { count } = await db
    .selectFrom('auditPending')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return count
}

/** The newest leaf. */
export function findLastLeaf(db: Db): Promise<LeafRow | undefined> {
  return db.selectFrom('auditLeaves').selectAll().orderBy('seq', 'desc').limit(1).executeTakeFirst()
}

export async function countLeaves(db: Db): Promise<number> {
  return ((await findLastLeaf(db))?.seq ?? -1) + 1
}

/** The first leaf that has not been pruned. */
export async function findFirstSeq(db: Db): Promise<number | undefined> {
  const row = await db.selectFrom('auditLeaves').select('seq').orderBy('seq').limit(1).executeTakeFirst()
  return row?.seq
}

export function findLeafOfEvent(db: Db, eventId: string): Promise<LeafRow | undefined> {
  return db.selectFrom('auditLeaves').selectAll().where('eventId', '=', eventId).executeTakeFirst()
}

const leafColumns = { seq: 'bigint', eventId: 'text', subject: 'text', sealed: 'text', hash: 'text' } as const
const nodeColumns = { level: 'bigint', position: 'bigint', hash: 'text' } as const

/** Stores leaves and the subtrees they completed, and takes their events out of what waits. */
export function storeLeaves(leaves: readonly LeafRow[], nodes: readonly NodeRow[]): Statement[] {
  const ids = leaves.map(({ eventId }) => eventId)
  return [
    insert('audit_leaves', leafColumns, leaves),
    ...(nodes.length > 0 ? [insert('audit_nodes', nodeColumns, nodes)] : []),
    statement`delete from audit_pending where event_id ${oneOf('text', ids)}`,
  ]
}

/** Hashes of leaves (level 0) or of subtrees of 256^level leaves, in order; fewer than asked for where they are not all there. */
export async function listHashes(db: Db, level: number, start: number, count: number): Promise<string[]> {
  const found =
    level === 0
      ? await db
          .selectFrom('auditLeaves')
          .select(['hash', 'seq as at'])
          .where('seq', '>=', start)
          .where('seq', '<', start + count)
          .orderBy('seq')
          .execute()
      : await db
          .selectFrom('auditNodes')
          .select(['hash', 'position as at'])
          .where('level', '=', level)
          .where('position', '>=', start)
          .where('position', '<', start + count)
          .orderBy('position')
          .execute()
  return found.map(({ hash }) => hash)
}

/** Joins each row's event by its id: for a few thousand rows PostgreSQL would rather read all events there are, and again for each page. `offset 0` keeps it from seeing through. */
function eventOf(row: 'l' | 'p') {
  return text((dialect) =>
    dialect === 'postgres'
      ? `left join lateral (select * from audit_events where id = ${row}.event_id offset 0) e on true`
      : `left join audit_events e on e.id = ${row}.event_id`,
  )
}

/** A leaf with its event; the event's columns are null where it is gone. */
export type StoredLeaf = LeafRow & { event: LeafEvent | undefined }

/** Leaves with their events, in the order of the log. */
export async function listLeaves(db: Db, start: number, end: number): Promise<StoredLeaf[]> {
  const found = await run<LeafRow & Omit<LeafEvent, 'id'> & { id: string | null }>(
    db,
    statement`select l.seq, l.event_id, l.subject, l.sealed, l.hash, e.id, e.at, e.actor_kind, e.actor_id, e.team_id, e.project_id, e.action, e.target_kind,
      e.target_id, e.outcome, e.request_id, e.ip, e.details
      from audit_leaves l ${eventOf('l')} where l.seq >= ${start} and l.seq < ${end} order by l.seq`,
  )
  return found.map(({ seq, eventId, hash, id, ...event }) => ({
    seq,
    eventId,
    subject: event.subject,
    sealed: event.sealed,
    hash,
    event: id === null ? undefined : { ...event, id },
  }))
}

export interface CheckpointRow {
  size: number
  root: string
  at: number
  note: string
}

export function findLastCheckpoint(db: Db): Promise<CheckpointRow | undefined> {
  return db.selectFrom('auditCheckpoints').selectAll().orderBy('size', 'desc').limit(1).executeTakeFirst()
}

/** The smallest checkpoint of at least that many leaves. */
export function findCheckpointFrom(db: Db, size: number): Promise<CheckpointRow | undefined> {
  return db
    .selectFrom('auditCheckpoints')
    .selectAll()
    .where('size', '>=', size)
    .orderBy('size')
    .limit(1)
    .executeTakeFirst()
}

/** Checkpoints of more than `after` leaves, in order. */
export function listCheckpoints(db: Db, after: number, limit: number): Promise<CheckpointRow[]> {
  return db.selectFrom('auditCheckpoints').selectAll().where('size', '>', after).orderBy('size').limit(limit).execute()
}

export async function insertCheckpoint(tx: Db, row: CheckpointRow): Promise<void> {
  await tx.insertInto('auditCheckpoints').values(row).execute()
}

/** Every public key that has signed, oldest first. */
export function listAuditKeys(db: Db) {
  return db.selectFrom('auditKeys').selectAll().orderBy('firstSize').orderBy('createdAt').execute()
}

/** Keys of those of the persons who have one. */
export function listSubjectKeys(db: Db, userIds: readonly string[]) {
  return run<{ userId: string; sealedKey: string }>(
    db,
    statement`select user_id, sealed_key from audit_subjects where user_id ${oneOf('text', userIds)}`,
  )
}

/** Those of the persons whose accounts exist and are not erased, held until the transaction ends: an erasure waits, and then finds the keys made meanwhile. */
export async function lockLivingUsers(tx: Db, userIds: readonly string[]): Promise<string[]> {
  const living = await run<{ id: string }>(
    tx,
    statement`select id from users where id ${oneOf('text', userIds)} and erased_at is null order by id ${only('postgres', statement`for update`)}`,
  )
  return living.map(({ id }) => id)
}

const subjectColumns = { userId: 'text', sealedKey: 'text', createdAt: 'bigint' } as const

export async function insertSubjects(
  tx: Db,
  subjects: readonly { userId: string; sealedKey: string; createdAt: number }[],
): Promise<void> {
  if (subjects.length > 0) await run(tx, insert('audit_subjects', subjectColumns, subjects))
}

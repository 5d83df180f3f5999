import type { SelectQueryBuilder } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { AuditEvents } from '../platform/db/schema-audit.ts'

export interface Filter {
  teamId?: string | undefined
  projectId?: string | undefined
  actor?: string | undefined
  action?: string | undefined
  target?: string | undefined
  outcome?: 'succeeded' | 'refused' | undefined
  since?: number | undefined
  until?: number | undefined
}

/** An event with what of it is sealed or waits to be. */
export type ReadRow = AuditEvents & { subject: string | null; sealed: string | null; waiting: string | null }

export interface Window {
  /** One more than the limit where there are more. */
  rows: ReadRow[]
  /** Where to go on when as many events as may be looked at at once held too few that match; null when there are no more. */
  resumeAt: string | null
}

/** Looked at for one page: on SQLite some 20 ms in which nobody else is served. */
const windowSize = 20_000
/** An id may run ahead of the clock, and clocks of replicas differ: ids narrow the search, `at` decides. */
const slackMs = 86_400_000

interface Range {
  limit: number
  after: string | undefined
  newestFirst: boolean
}

/** The events that match, of the next 20,000 that have the same team and actor, which are indexed. */
export async function listEvents(db: Db, filter: Filter, { limit, after, newestFirst }: Range): Promise<Window> {
  const direction = newestFirst ? 'desc' : 'asc'
  let indexed = db.selectFrom('auditEvents').orderBy('auditEvents.id', direction).limit(windowSize)
  if (after !== undefined) indexed = indexed.where('auditEvents.id', newestFirst ? '<' : '>', after)
  if (filter.since !== undefined) indexed = indexed.where('auditEvents.id', '>=', idAt(filter.since - slackMs))
  if (filter.until !== undefined) indexed = indexed.where('auditEvents.id', '<', idAt(filter.until + slackMs))
  if (filter.teamId !== undefined) indexed = indexed.where('teamId', '=', filter.teamId)
  if (filter.actor !== undefined) indexed = indexed.where('actorId', '=', filter.actor)
  const rows = await matching(db, indexed, filter)
    .orderBy('events.id', direction)
    .limit(limit + 1)
    .execute()
  if (rows.length > limit) return { rows, resumeAt: null }
  const last = await indexed
    .clearLimit()
    .select('auditEvents.id')
    .limit(1)
    .offset(windowSize - 1)
    .executeTakeFirst()
  return { rows, resumeAt: last?.id ?? null }
}

function matching(db: Db, indexed: SelectQueryBuilder<Schema, 'auditEvents', object>, filter: Filter) {
  let query = db
    .selectFrom(indexed.selectAll().as('events'))
    .leftJoin('auditLeaves', 'auditLeaves.eventId', 'events.id')
    .leftJoin('auditPending', 'auditPending.eventId', 'events.id')
    .selectAll('events')
    .select((eb) => eb.fn.coalesce('auditLeaves.subject', 'auditPending.subject').as('subject'))
    .select(['auditLeaves.sealed', 'auditPending.ip as waiting'])
  if (filter.projectId !== undefined) query = query.where('events.projectId', '=', filter.projectId)
  if (filter.action !== undefined) query = query.where('events.action', '=', filter.action)
  if (filter.target !== undefined) query = query.where('events.targetId', '=', filter.target)
  if (filter.outcome !== undefined) query = query.where('events.outcome', '=', filter.outcome)
  if (filter.since !== undefined) query = query.where('events.at', '>=', filter.since)
  if (filter.until !== undefined) query = query.where('events.at', '<', filter.until)
  return query
}

/** The smallest UUIDv7 of a moment (RFC 9562 §5.7). */
function idAt(ms: number): string {
  const hex = Math.min(Math.max(0, ms), 2 ** 48 - 1)
    .toString(16)
    .padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

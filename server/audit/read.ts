import type { AuditEvent, listAudit } from '@hivesync/contracts/audit.ts'
import type { QueryOf } from '@hivesync/contracts/endpoint.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { requireTeam } from '../teams/teams.ts'
import { type Filter, listEvents, type ReadRow } from './read-queries.ts'
import { openSealed, openSubjectKeys } from './subjects.ts'

export type AuditQuery = Omit<QueryOf<typeof listAudit>, 'limit' | 'cursor'>

const defaultLimit = 50

/** The filter that the actor may use: an admin any, an owner that of the own team, everybody else none. */
export async function requireFilter(ctx: Context, actor: Actor, query: AuditQuery): Promise<Filter> {
  if (!actor.isAdmin) {
    if (query.teamId === undefined) throw new AppError('permission_denied', {}, { detail: 'Name a team that you own' })
    await requireTeam(ctx.db.kysely, actor, query.teamId, 'readAudit')
  }
  const { since, until, ...equal } = query
  return { ...equal, since: timeOf(since), until: timeOf(until) }
}

const timeOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text))

/** A page of the log, newest first. At most 20,000 events are looked at for one page: where few of them match, the page is short and `nextCursor` goes on. */
export async function readAudit(
  ctx: Context,
  actor: Actor,
  { limit, cursor, ...query }: QueryOf<typeof listAudit>,
): Promise<Page<AuditEvent>> {
  const request = pageRequest({ limit: limit ?? String(defaultLimit), ...(cursor !== undefined && { cursor }) })
  const filter = await requireFilter(ctx, actor, query)
  const window = await listEvents(ctx.db.kysely, filter, { ...request, newestFirst: true })
  const events = await toEvents(ctx, actor, window.rows)
  const found = toPage(
    events,
    request,
    ({ id }) => id,
    (event) => event,
  )
  return { ...found, nextCursor: found.nextCursor ?? window.resumeAt }
}

/** Events as this actor may see them (requirement K4): where somebody was is for admins and for that person. */
export async function toEvents(ctx: Context, actor: Actor, rows: readonly ReadRow[]): Promise<AuditEvent[]> {
  const subjects = rows.flatMap(({ subject, sealed }) => (subject === null || sealed === null ? [] : [subject]))
  const keys = await openSubjectKeys(ctx, ctx.db.kysely, [...new Set(subjects)])
  return rows.map((row) => {
    const isOpen = actor.isAdmin || (row.subject !== null && row.subject === actor.userId)
    const ip = row.ip ?? row.waiting ?? openSealed(keys, row)?.ip ?? null
    return {
      id: row.id,
      at: isoTime(row.at),
      actor: { kind: row.actorKind, id: row.actorId },
      action: row.action,
      outcome: row.outcome,
      target: row.targetKind === null || row.targetId === null ? null : { kind: row.targetKind, id: row.targetId },
      teamId: row.teamId,
      projectId: row.projectId,
      requestId: row.requestId,
      ip: isOpen ? ip : null,
      details: JSON.parse(row.details),
    }
  })
}

import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { openSealed, openSubjectKeys } from './subjects.ts'

/** What the log holds of a person, as they may read it: where somebody else was who did something to the account is that person's own. Ids grow. */
export async function listOwnEvents(ctx: Context, db: Db, userId: string, after: string, limit: number) {
  const events = await db
    .selectFrom('auditEvents')
    .leftJoin('auditLeaves', 'auditLeaves.eventId', 'auditEvents.id')
    .leftJoin('auditPending', 'auditPending.eventId', 'auditEvents.id')
    .select(['auditEvents.id', 'at', 'action', 'outcome', 'targetKind', 'targetId', 'details', 'actorId'])
    .select(['auditEvents.ip', 'auditLeaves.subject', 'auditLeaves.sealed', 'auditPending.ip as waiting'])
    .where((eb) =>
      eb.or([
        eb.and([eb('actorKind', '=', 'user'), eb('actorId', '=', userId)]),
        eb.and([eb('targetKind', '=', 'user'), eb('targetId', '=', userId)]),
      ]),
    )
    .where('auditEvents.id', '>', after)
    .orderBy('auditEvents.id')
    .limit(limit)
    .execute()
  const keys = await openSubjectKeys(ctx, db, [userId])
  return events.map(({ actorId, ip, subject, sealed, waiting, ...event }) => {
    const own = actorId === userId
    return {
      ...event,
      ip: own ? (ip ?? waiting ?? openSealed(keys, { id: event.id, subject, sealed })?.ip ?? null) : null,
    }
  })
}

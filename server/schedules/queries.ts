import type { Insertable, Selectable, Updateable } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { forUpdate, forUpdateSkipLocked } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { PageRequest } from '../platform/page.ts'

export type ScheduleRow = Selectable<Schema['schedules']>

/** Inserts a schedule unless the project has as many as it may; two at once cannot share the last place, for the project is locked. */
export async function insertSchedule(tx: Db, row: Insertable<Schema['schedules']>, most: number): Promise<boolean> {
  await forUpdate(tx, tx.selectFrom('projects').select('id').where('id', '=', row.projectId)).execute()
  const { count } = await tx
    .selectFrom('schedules')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('projectId', '=', row.projectId)
    .executeTakeFirstOrThrow()
  if (count >= most) return false
  await tx.insertInto('schedules').values(row).execute()
  return true
}

export function findSchedule(db: Db, projectId: string, scheduleId: string): Promise<ScheduleRow | undefined> {
  return db
    .selectFrom('schedules')
    .selectAll()
    .where('projectId', '=', projectId)
    .where('id', '=', scheduleId)
    .executeTakeFirst()
}

export function lockSchedule(tx: Db, projectId: string, scheduleId: string): Promise<ScheduleRow | undefined> {
  const row = tx.selectFrom('schedules').selectAll().where('projectId', '=', projectId).where('id', '=', scheduleId)
  return forUpdate(tx, row).executeTakeFirst()
}

export function listScheduleRows(db: Db, projectId: string, page: PageRequest): Promise<ScheduleRow[]> {
  const rows = db
    .selectFrom('schedules')
    .selectAll()
    .where('projectId', '=', projectId)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('id', '<', page.after)).execute()
}

export function setSchedule(tx: Db, id: string, change: Updateable<Schema['schedules']>): Promise<ScheduleRow> {
  return tx.updateTable('schedules').set(change).where('id', '=', id).returningAll().executeTakeFirstOrThrow()
}

export async function deleteScheduleRow(tx: Db, projectId: string, scheduleId: string): Promise<boolean> {
  const result = await tx
    .deleteFrom('schedules')
    .where('projectId', '=', projectId)
    .where('id', '=', scheduleId)
    .executeTakeFirst()
  return result.numDeletedRows === 1n
}

export interface DueRun {
  id: string
  nextRunAt: number
}

/** Runs that are due, the longest overdue first. Relies on schedules_due. */
export async function listDue(
  db: Db,
  now: number,
  page: { after: DueRun | undefined; limit: number },
): Promise<DueRun[]> {
  const { after } = page
  let due = db
    .selectFrom('schedules')
    .select(['id', 'nextRunAt'])
    .where('pausedAt', 'is', null)
    .where('nextRunAt', 'is not', null)
    .where('nextRunAt', '<=', now)
    .orderBy('nextRunAt')
    .orderBy('id')
    .limit(page.limit)
  if (after !== undefined)
    due = due.where((eb) =>
      eb.or([
        eb('nextRunAt', '>', after.nextRunAt),
        eb.and([eb('nextRunAt', '=', after.nextRunAt), eb('id', '>', after.id)]),
      ]),
    )
  return (await due.execute()).map(({ id, nextRunAt }) => ({ id, nextRunAt: nextRunAt ?? 0 }))
}

/** The schedule, if this run of it is still to be started and nobody else is at it: half of what keeps two replicas from both starting it. */
export function lockDue(tx: Db, { id, nextRunAt }: DueRun): Promise<ScheduleRow | undefined> {
  const row = tx
    .selectFrom('schedules')
    .selectAll()
    .where('id', '=', id)
    .where('nextRunAt', '=', nextRunAt)
    .where('pausedAt', 'is', null)
  return forUpdateSkipLocked(tx, row).executeTakeFirst()
}

/** Whether a job of the schedule has not ended. Relies on jobs_schedule_open. */
export async function hasOpenJob(tx: Db, scheduleId: string): Promise<boolean> {
  const job = await tx
    .selectFrom('jobs')
    .select('id')
    .where('scheduleId', '=', scheduleId)
    .where('finishedAt', 'is', null)
    .limit(1)
    .executeTakeFirst()
  return job !== undefined
}

export function findProject(db: Db, projectId: string) {
  return db
    .selectFrom('projects')
    .select(['id', 'teamId', 'archivedAt'])
    .where('id', '=', projectId)
    .executeTakeFirstOrThrow()
}

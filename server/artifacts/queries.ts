import type { Selectable } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { forUpdateSkipLocked, isOneOf } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import { oneOf, type Statement, statement } from '../platform/db/statement.ts'
import type { PageRequest } from '../platform/page.ts'
import { visibleProjects } from '../projects/projects.ts'

export type ArtifactRow = Selectable<Schema['artifacts']>

export async function isVisibleJob(db: Db, actor: Actor, jobId: string): Promise<boolean> {
  const job = await db
    .selectFrom('jobs')
    .select('id')
    .where('id', '=', jobId)
    .where('projectId', 'in', visibleProjects(db, actor))
    .executeTakeFirst()
  return job !== undefined
}

export function listCommitted(db: Db, jobId: string, now: number, page: PageRequest) {
  const rows = db
    .selectFrom('artifacts')
    .innerJoin('jobAttempts', 'jobAttempts.token', 'artifacts.token')
    .selectAll('artifacts')
    .select('jobAttempts.number as attempt')
    .where('artifacts.jobId', '=', jobId)
    .where('artifacts.state', '=', 'committed')
    .where('artifacts.expiresAt', '>', now)
    .orderBy('artifacts.id')
    .limit(page.limit + 1)
  return (page.after === undefined ? rows : rows.where('artifacts.id', '>', page.after)).execute()
}

const committed = (db: Db, artifactId: string, now: number) =>
  db
    .selectFrom('artifacts')
    .selectAll()
    .where('id', '=', artifactId)
    .where('state', '=', 'committed')
    .where('expiresAt', '>', now)

/** Only for who may see its project. */
export function findVisible(db: Db, actor: Actor, artifactId: string, now: number): Promise<ArtifactRow | undefined> {
  return committed(db, artifactId, now).where('projectId', 'in', visibleProjects(db, actor)).executeTakeFirst()
}

/** For whoever has proved by a signed link that it may be fetched. */
export function findCommitted(db: Db, artifactId: string, now: number): Promise<ArtifactRow | undefined> {
  return committed(db, artifactId, now).executeTakeFirst()
}

export function listOfLease(tx: Db, token: number): Promise<ArtifactRow[]> {
  return tx.selectFrom('artifacts').selectAll().where('token', '=', token).execute()
}

export function findOfLease(tx: Db, token: number, artifactId: string): Promise<ArtifactRow | undefined> {
  return tx
    .selectFrom('artifacts')
    .selectAll()
    .where('id', '=', artifactId)
    .where('token', '=', token)
    .where('state', '=', 'pending')
    .executeTakeFirst()
}

export async function insertArtifacts(tx: Db, rows: ArtifactRow[]): Promise<void> {
  // SQLite takes 32,766 parameters in a statement.
  for (let start = 0; start < rows.length; start += 500)
    await tx
      .insertInto('artifacts')
      .values(rows.slice(start, start + 500))
      .execute()
}

/** Says where the content lies; false when it has been said before. */
export async function setContent(tx: Db, token: number, artifactId: string, objectKey: string): Promise<boolean> {
  const result = await tx
    .updateTable('artifacts')
    .set({ objectKey })
    .where('id', '=', artifactId)
    .where('token', '=', token)
    .where('objectKey', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Those whose content has arrived are there from now on. */
export function setCommitted(tokens: readonly number[], expiresAt: number): Statement {
  return statement`update artifacts set state = 'committed', expires_at = ${expiresAt}
      where token ${oneOf('bigint', tokens)} and state = 'pending' and object_key is not null`
}

/** Takes out what has expired, and what was pending when its lease ended. */
export async function deleteDead(tx: Db, now: number, limit: number) {
  const dead = tx
    .selectFrom('artifacts')
    .select('id')
    .where((eb) =>
      eb.or([
        eb('expiresAt', '<=', now),
        eb.and([
          eb('state', '=', 'pending'),
          eb.not(
            eb.exists(
              eb.selectFrom('jobLeases').select('jobLeases.token').whereRef('jobLeases.token', '=', 'artifacts.token'),
            ),
          ),
        ]),
      ]),
    )
    .limit(limit)
  const ids = (await forUpdateSkipLocked(tx, dead).execute()).map(({ id }) => id)
  if (ids.length === 0) return []
  // Said again: one that a completion committed since it was read stays.
  return tx
    .deleteFrom('artifacts')
    .where(isOneOf(tx, 'id', ids))
    .where((eb) => eb.or([eb('expiresAt', '<=', now), eb('state', '=', 'pending')]))
    .returning(['teamId', 'bytes', 'objectKey'])
    .execute()
}

/** Deletes what jobs left behind, whatever its state; the bytes are the caller's to give back, last in the transaction, and the contents afterwards. */
export function deleteArtifactsOf(tx: Db, jobIds: readonly string[]) {
  return tx
    .deleteFrom('artifacts')
    .where(isOneOf(tx, 'jobId', jobIds))
    .returning(['teamId', 'bytes', 'objectKey'])
    .execute()
}

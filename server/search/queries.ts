import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { visibleProjects } from '../projects/projects.ts'
import type { IndexName } from './sqlite-indexes.ts'

/** The index that each project the actor may see serves now. */
export async function findServedIndexes(db: Db, actor: Actor, projectId: string | undefined): Promise<IndexName[]> {
  let query = db
    .selectFrom('mirrors')
    .select(['projectId', 'indexToken as token'])
    .where('projectId', 'in', visibleProjects(db, actor))
  if (projectId !== undefined) query = query.where('projectId', '=', projectId)
  return query.execute()
}

/** Tokens whose index is served, or may still be: their lease is held. In one statement, because publication turns one into the other. */
export async function findLiveTokens(db: Db): Promise<Set<number>> {
  const rows = await db
    .selectFrom('mirrors')
    .select('indexToken as token')
    .union(db.selectFrom('jobLeases').select('token'))
    .execute()
  return new Set(rows.map((row) => row.token))
}

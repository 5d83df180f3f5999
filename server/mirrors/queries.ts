import type { Db } from '../platform/db/db.ts'

export interface Mirror {
  projectId: string
  repository: string
  commitId: string
  branch: string | null
  indexToken: number
  files: number
  bytes: number
  syncedAt: number
}

export function findMirrorRow(db: Db, projectId: string): Promise<Mirror | undefined> {
  return db.selectFrom('mirrors').selectAll().where('projectId', '=', projectId).executeTakeFirst()
}

export async function putMirror(tx: Db, mirror: Mirror): Promise<void> {
  await tx
    .insertInto('mirrors')
    .values(mirror)
    .onConflict((conflict) =>
      conflict.column('projectId').doUpdateSet((eb) => ({
        repository: eb.ref('excluded.repository'),
        commitId: eb.ref('excluded.commitId'),
        branch: eb.ref('excluded.branch'),
        indexToken: eb.ref('excluded.indexToken'),
        files: eb.ref('excluded.files'),
        bytes: eb.ref('excluded.bytes'),
        syncedAt: eb.ref('excluded.syncedAt'),
      })),
    )
    .execute()
}

export async function getTeamOf(tx: Db, projectId: string): Promise<string> {
  const row = await tx.selectFrom('projects').select('teamId').where('id', '=', projectId).executeTakeFirstOrThrow()
  return row.teamId
}

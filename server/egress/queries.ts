import type { Db } from '../platform/db/db.ts'

/** The hosts of each of these projects, by name. */
export function listHosts(db: Db, projectIds: readonly string[]) {
  return db
    .selectFrom('projectEgress')
    .select(['projectId', 'host'])
    .where('projectId', 'in', [...projectIds])
    .orderBy('projectId')
    .orderBy('host')
    .execute()
}

export async function deleteHosts(tx: Db, projectId: string, hosts: readonly string[]): Promise<void> {
  if (hosts.length === 0) return
  await tx
    .deleteFrom('projectEgress')
    .where('projectId', '=', projectId)
    .where('host', 'in', [...hosts])
    .execute()
}

export async function insertHosts(
  tx: Db,
  rows: readonly { projectId: string; host: string; addedBy: string | null; addedAt: number }[],
): Promise<void> {
  if (rows.length === 0) return
  await tx
    .insertInto('projectEgress')
    .values([...rows])
    .execute()
}

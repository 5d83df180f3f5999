import { enqueueEvent } from '../audit/audit.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'

/** Tells the team of the project that a key is for; of a key for all that a person may do nobody else hears. */
export async function tellTeam(
  ctx: Context,
  tx: Db,
  topic: 'api_key.created' | 'api_key.revoked',
  { id, projectId }: { id: string; projectId: string | null },
): Promise<void> {
  if (projectId === null) return
  const project = await tx.selectFrom('projects').select('teamId').where('id', '=', projectId).executeTakeFirst()
  await enqueueEvent(ctx, tx, { topic, teamId: project?.teamId ?? null, payload: { apiKeyId: id, projectId } })
}

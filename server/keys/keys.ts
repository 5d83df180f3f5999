import type { ApiKey } from '@hivesync/contracts/api-keys.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import { requirePerson, toApiKey } from './issue.ts'
import { listApiKeyRows, setApiKeyRevoked, setApiKeysRevoked } from './queries.ts'
import { tellTeam } from './tell-team.ts'

export { createKeyAuthenticator } from './authenticate.ts'
export { type BearerAuthenticator, createBearerAuthenticator } from './bearer.ts'
export { createApiKey } from './create.ts'
export { keyGauges } from './gauges.ts'
export { remindKeyExpiry } from './notices.ts'
export { importPharosToken } from './pharos.ts'
export { rotateApiKey } from './rotate.ts'

/** The live keys of the person, newest first. */
export async function listApiKeys(
  ctx: Context,
  actor: Actor,
  query: { limit?: string; cursor?: string },
): Promise<{ items: ApiKey[]; nextCursor: string | null }> {
  const { userId } = requirePerson(actor)
  const request = pageRequest(query)
  const rows = await listApiKeyRows(ctx.db.kysely, userId, ctx.clock.now(), request)
  return toPage(rows, request, (row) => row.id, toApiKey)
}

/** Ends every key of a person, in a transaction that is to revoke what stood on them: answers their ids. */
export async function endApiKeysOf(ctx: Context, tx: Db, userId: string): Promise<string[]> {
  return (await setApiKeysRevoked(tx, userId, ctx.clock.now())).map(({ id }) => id)
}

/** Revokes a key of the person; its next request is refused, and what it had begun ends. */
export async function revokeApiKey(ctx: Context, actor: Actor, apiKeyId: string): Promise<void> {
  const { userId } = requirePerson(actor)
  await revoking(ctx, actor, async (tx, revoke) => {
    const revoked = await setApiKeyRevoked(tx, userId, apiKeyId, ctx.clock.now())
    if (revoked === undefined) throw new AppError('api_key_not_found', { apiKeyId })
    const target = { kind: 'api_key', id: apiKeyId }
    await recordAudit(ctx, tx, actor, { action: 'api_key.revoked', target, projectId: revoked.projectId })
    await tellTeam(ctx, tx, 'api_key.revoked', revoked)
    await revoke({ apiKeys: [apiKeyId] })
  })
}

import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { isJwtLike } from './bearer.ts'
import {
  findLiveKey,
  findTeamOfProject,
  insertApiKey,
  insertProject,
  insertTeam,
  listOperatorKeys,
  setOperatorKeyRevoked,
} from './queries.ts'

/** The setting that the key comes from: names the operator's keys among those without an owner. */
const keyName = 'PHAROS_ADMIN_TOKEN'
const projectName = 'Pharos'

/**
 * Makes the operator's keys match the setting (requirement C8): one live key with scope `ingest`, bound to the project
 * "Pharos", holding the configured token's hash; every other one revoked. Run at each start; changes nothing when all is so.
 */
export async function importPharosToken(ctx: Context): Promise<void> {
  const { pharosToken } = ctx.config
  if (pharosToken !== null && isUnusable(pharosToken)) ctx.log.warn({ event: 'pharos_token_unusable', name: keyName })
  const secretHash = pharosToken === null ? undefined : sha256Hex(pharosToken)
  const hasChanged = await ctx.db.transaction((tx) => reconcile(ctx, tx, secretHash))
  if (hasChanged) ctx.bus.publish('identity')
}

// What the guard does not read as a bearer token (RFC 6750 §2.1), or reads as an access token, can never be presented.
function isUnusable(token: string): boolean {
  return !/^[A-Za-z0-9._~+/=-]{1,4096}$/.test(token) || isJwtLike(token)
}

async function reconcile(ctx: Context, tx: Db, secretHash: string | undefined): Promise<boolean> {
  await withLock(tx, 'pharos-token')
  const keys = await listOperatorKeys(tx, keyName)
  const outdated = keys.filter((key) => key.revokedAt === null && key.secretHash !== secretHash)
  for (const key of outdated) {
    await setOperatorKeyRevoked(tx, key.id, ctx.clock.now())
    await auditKey(ctx, tx, 'api_key.revoked', key)
  }
  if (secretHash === undefined) return outdated.length > 0

  const configured = keys.find((key) => key.secretHash === secretHash)
  if (configured === undefined) {
    const projectId = keys[0]?.projectId ?? (await createPharosProject(ctx, tx))
    await createOperatorKey(ctx, tx, secretHash, projectId)
  } else if (configured.revokedAt !== null) {
    // The setting went back to an earlier value: the operator says that it is good.
    await setOperatorKeyRevoked(tx, configured.id, null)
    await auditKey(ctx, tx, 'api_key.restored', configured)
  } else {
    return outdated.length > 0
  }
  return true
}

async function createOperatorKey(ctx: Context, tx: Db, secretHash: string, projectId: string): Promise<void> {
  if ((await findLiveKey(tx, secretHash)) !== undefined)
    throw new Error(`${keyName} is the API key of a person: set it to a text of its own`)
  const key = await insertApiKey(tx, {
    id: ctx.random.id(),
    userId: null,
    projectId,
    name: keyName,
    // Nothing of a token that people chose is shown.
    prefix: 'pharos',
    secretHash,
    scopes: JSON.stringify(['ingest']),
    createdAt: ctx.clock.now(),
    expiresAt: null,
  })
  await auditKey(ctx, tx, 'api_key.created', key)
}

async function createPharosProject(ctx: Context, tx: Db): Promise<string> {
  const createdAt = ctx.clock.now()
  const [teamId, projectId] = [ctx.random.id(), ctx.random.id()]
  await insertTeam(tx, { id: teamId, name: projectName, personalUserId: null, createdAt })
  await insertProject(tx, { id: projectId, teamId, name: projectName, createdBy: null, createdAt, archivedAt: null })
  await recordAudit(ctx, tx, system, {
    action: 'project.created',
    target: { kind: 'project', id: projectId },
    teamId,
    projectId,
  })
  return projectId
}

async function auditKey(ctx: Context, tx: Db, action: string, key: { id: string; projectId: string | null }) {
  const teamId = key.projectId === null ? null : (await findTeamOfProject(tx, key.projectId)).teamId
  const details = { name: keyName }
  await recordAudit(ctx, tx, system, {
    action,
    target: { kind: 'api_key', id: key.id },
    teamId,
    projectId: key.projectId,
    details,
  })
}

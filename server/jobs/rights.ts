import { grantedBy, type ProjectPermission, scopes } from '@hivesync/contracts/access.ts'
import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import { isOneOf } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { hasRoleFor } from '../projects/projects.ts'

// As text, built once: made of the query builder's parts it took 150 µs to compile each time, where SQLite answers it in 5.

/** Scopes are stored as a JSON list of fixed words: a word in its quotes occurs in the text exactly when it is in the list. */
const hasScope = (scope: string): string => `api_keys.scopes like '%"${scope}"%'`

const grants = (permission: ProjectPermission): string =>
  `(${scopes
    .filter((scope) => grantedBy([scope]).has(permission))
    .map(hasScope)
    .join(' or ')})`

/**
 * Whether a row of the table still has the rights it acts with (requirement B5), as 1 or 0: its submitter is active and could submit it today, and so could
 * the API key it came with, if any, which is live. It reads the rows themselves, so that no copy can be stale; a job whose submitter is gone
 * has none. Keys are revoked, never deleted: the job of a deleted one would be left with its owner's rights.
 */
function rightsOn(table: 'jobs' | 'schedules'): (now: number) => RawBuilder<number> {
  /** The key reaches the project and may submit this kind of job there; whether it is live depends on the time. */
  const keyReaches = sql.raw(`(api_keys.project_id is null or api_keys.project_id = ${table}.project_id)
  and (${grants('jobs:write')} or (${table}.kind = 'ingest' and ${grants('ingest:write')}))`)
  /** A key without an owner is the operator's, and edits the one project that it is bound to. */
  const isOperators = sql.raw(`(${table}.submitted_by_user is null and api_keys.user_id is null
  and api_keys.project_id is not null)`)
  const isOwners = sql.raw(`api_keys.user_id = ${table}.submitted_by_user`)
  /** Admins may run any job again (requirement L1), with a key only where it is an admin's on the whole: the rule of `requireJob`. */
  const isAdmins = sql.raw(`(users.admin_since is not null
  and (${table}.submitted_by_key is null or (api_keys.project_id is null and ${hasScope('admin')})))`)
  const hasRole: RawBuilder<SqlBool> = hasRoleFor('jobs:write', `${table}.submitted_by_user`, `${table}.project_id`)
  const userId = sql.raw(`${table}.submitted_by_user`)
  const keyId = sql.raw(`${table}.submitted_by_key`)
  return (now) => sql<number>`case when exists (
    select 1 from (select 1 as one) as always
    left join users on users.id = ${userId}
    left join api_keys on api_keys.id = ${keyId}
    where (${keyId} is null or (api_keys.revoked_at is null
        and (api_keys.expires_at is null or api_keys.expires_at > ${now}) and ${keyReaches} and (${isOwners} or ${isOperators})))
      and (${isOperators} or (users.deactivated_at is null and users.erased_at is null
        and (${hasRole} or ${isAdmins})))
  ) then 1 else 0 end`
}

export const hasRights = rightsOn('jobs')
/** The same of a row of `schedules`: whether the job of its next run would have rights. */
export const hasScheduleRights = rightsOn('schedules')

/** Whether the job's rights have ended. */
export async function isRightless(db: Db, jobId: string, now: number): Promise<boolean> {
  return (await listRightless(db, [jobId], now)).has(jobId)
}

/** Those of the jobs whose rights have ended. */
export async function listRightless(db: Db, jobIds: readonly string[], now: number): Promise<Set<string>> {
  if (jobIds.length === 0) return new Set()
  const jobs = db
    .selectFrom('jobs')
    .select('id')
    .where(isOneOf(db, 'id', jobIds))
    .where(hasRights(now), '=', 0)
  return new Set((await jobs.execute()).map(({ id }) => id))
}

/** Refuses an API key that was revoked, or ended, since it opened the request: what it stores now would have no rights from its first moment. */
export async function requireLiveKey(tx: Db, actor: Actor, now: number): Promise<void> {
  if (actor.kind !== 'key') return
  const key = await tx
    .selectFrom('apiKeys')
    .select('id')
    .where('id', '=', actor.id ?? '')
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
    .executeTakeFirst()
  if (key === undefined) throw new AppError('invalid_token')
}

import type { Db } from '../platform/db/db.ts'
import { forUpdate } from '../platform/db/dialect.ts'

/** The teams a person owns, with how many other owners who can sign in and other members each has. */
export async function listOwnedTeams(tx: Db, userId: string) {
  const teams = await tx
    .selectFrom('teamMembers')
    .innerJoin('teams', 'teams.id', 'teamMembers.teamId')
    .select(['teams.id', 'teams.name', 'teams.personalUserId'])
    .where('teamMembers.userId', '=', userId)
    .where('teamMembers.role', '=', 'owner')
    .orderBy('teams.id')
    .execute()
  return Promise.all(
    teams.map(async (team) => {
      const others = await tx
        .selectFrom('teamMembers')
        .innerJoin('users', 'users.id', 'teamMembers.userId')
        .select(['teamMembers.role', 'users.deactivatedAt'])
        .where('teamMembers.teamId', '=', team.id)
        .where('teamMembers.userId', '<>', userId)
        .execute()
      const owners = others.filter((other) => other.role === 'owner' && other.deactivatedAt === null)
      return { ...team, members: others.length, owners: owners.length }
    }),
  )
}

/**
 * Holds all that runs or waits in a team until the transaction ends, so that no worker takes, starts or ends any of it meanwhile; to be called with the
 * team locked, into which nothing is submitted then. First the jobs' own rows, then the share, as a revocation does: a completion holds its
 * lease when it asks for the share.
 */
export async function holdWork(tx: Db, teamId: string): Promise<void> {
  // Whoever starts a run of one holds it when asking for the share.
  const schedules = tx.selectFrom('schedules').select('id').where('teamId', '=', teamId).orderBy('id')
  await forUpdate(tx, schedules).execute()
  const queued = tx.selectFrom('jobQueue').select('jobId').where('teamId', '=', teamId).orderBy('jobId')
  await forUpdate(tx, queued).execute()
  const leased = tx.selectFrom('jobLeases').select('jobId').where('teamId', '=', teamId).orderBy('jobId')
  await forUpdate(tx, leased).execute()
  const open = tx.selectFrom('jobs').select('id').where('teamId', '=', teamId).where('finishedAt', 'is', null)
  await forUpdate(tx, open.orderBy('id')).execute()
  await forUpdate(tx, tx.selectFrom('teamShares').select('teamId').where('teamId', '=', teamId)).execute()
}

/** The search indexes of a team's projects: those that are served, and those under way. */
export function listIndexes(tx: Db, teamId: string): Promise<{ projectId: string; token: number }[]> {
  const projects = tx.selectFrom('projects').select('id').where('teamId', '=', teamId)
  return tx
    .selectFrom('mirrors')
    .select(['projectId', 'indexToken as token'])
    .where('projectId', 'in', projects)
    .union(tx.selectFrom('jobLeases').select(['projectId', 'token']).where('projectId', 'in', projects))
    .execute()
}

/** Deletes a team with its projects, jobs, logs and workers: children first, because nothing of it may be left behind by a missing cascade. */
export async function deleteTeamWithAll(tx: Db, teamId: string): Promise<void> {
  const projects = tx.selectFrom('projects').select('id').where('teamId', '=', teamId)
  const jobs = tx.selectFrom('jobs').select('id').where('projectId', 'in', projects)
  const webhooks = tx.selectFrom('webhooks').select('id').where('teamId', '=', teamId)
  const deliveries = tx.selectFrom('webhookDeliveries').select('id').where('webhookId', 'in', webhooks)
  await tx.deleteFrom('webhookAttempts').where('deliveryId', 'in', deliveries).execute()
  await tx.deleteFrom('webhookDeliveries').where('webhookId', 'in', webhooks).execute()
  await tx.deleteFrom('webhookKeys').where('webhookId', 'in', webhooks).execute()
  await tx.deleteFrom('webhooks').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('artifacts').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('bundles').where('teamId', '=', teamId).execute()
  for (const table of ['jobLogs', 'jobEvents', 'jobLeases', 'jobQueue', 'jobAttempts'] as const) {
    await tx.deleteFrom(table).where('jobId', 'in', jobs).execute()
  }
  await tx.deleteFrom('jobs').where('projectId', 'in', projects).execute()
  await tx.deleteFrom('schedules').where('teamId', '=', teamId).execute()
  // With them the keys that are bound to one of them: no job elsewhere can have come with such a key.
  await tx.deleteFrom('projects').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('workerEnrolments').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('workers').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('outbox').where('teamId', '=', teamId).execute()
  await tx.deleteFrom('teams').where('id', '=', teamId).execute()
}

/** Takes everything out that names the person or opens the account; the row stays, so that ids in the audit still mean one person, and nobody. */
export async function blankUser(tx: Db, userId: string, emailKey: string, now: number): Promise<void> {
  const gone = `erased-${userId}`
  await tx
    .updateTable('users')
    .set((eb) => ({
      email: `${gone}@erased.invalid`,
      emailKey: `${gone}@erased.invalid`,
      username: gone,
      usernameKey: gone,
      passwordHash: null,
      passwordShortAt: null,
      passwordDisabledAt: null,
      adminSince: null,
      deactivatedAt: now,
      erasedAt: now,
      emailVerifiedAt: null,
      lastLoginAt: null,
      tokenVersion: eb('tokenVersion', '+', 1),
    }))
    .where('id', '=', userId)
    .execute()
  await tx
    .updateTable('apiKeys')
    .set((eb) => ({ name: 'erased', revokedAt: eb.fn.coalesce('revokedAt', eb.val(now)) }))
    .where('userId', '=', userId)
    .execute()
  for (const table of ['sessions', 'knownDevices', 'oneTimeTokens', 'factors', 'recoveryCodes'] as const) {
    await tx.deleteFrom(table).where('userId', '=', userId).execute()
  }
  for (const table of ['externalIdentities', 'deviceAuthorizations', 'projectMembers', 'teamMembers'] as const) {
    await tx.deleteFrom(table).where('userId', '=', userId).execute()
  }
  await tx
    .deleteFrom('invitations')
    .where((eb) => eb.or([eb('emailKey', '=', emailKey), eb('acceptedBy', '=', userId), eb('invitedBy', '=', userId)]))
    .execute()
}

/** What names the person, locked until the transaction ends; undefined for somebody unknown or erased. */
export function lockNames(tx: Db, userId: string) {
  const names = tx
    .selectFrom('users')
    .select(['email', 'emailKey'])
    .where('id', '=', userId)
    .where('erasedAt', 'is', null)
  return forUpdate(tx, names).executeTakeFirst()
}

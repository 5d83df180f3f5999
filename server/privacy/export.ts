import { Readable } from 'node:stream'
import { listOwnEvents, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'

const pageSize = 500
/** An input has up to 1 MiB. */
const jobsPageSize = 8

/** One part of the document: what it is called, and its rows after an id, in order, a page at a time. */
interface Part {
  name: string
  /** Rows in a page; a page that has fewer is the last. */
  pageSize?: number
  read(db: Db, userId: string, after: string, ctx: Context): Promise<{ id: string }[]>
}

/**
 * Everything the server keeps about a person (requirement K5, GDPR article 15), as a stream of one JSON document; secrets and their hashes are not
 * in it, nor other people's addresses and networks. Times are epoch milliseconds, as they are stored. It is read in pages, as fast as they are taken, and
 * `prove` is called before each: a long history needs no more memory than a short one, and a revocation ends it.
 */
export async function exportMyData(ctx: Context, actor: Actor, prove: () => Promise<void>): Promise<Readable> {
  const { userId } = requireSession(actor)
  const target = { kind: 'user', id: userId }
  await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, { action: 'user.exported', target }))
  return Readable.from(write(ctx, userId, prove), { objectMode: false, highWaterMark: 64 * 1024 })
}

async function* write(ctx: Context, userId: string, prove: () => Promise<void>): AsyncGenerator<string> {
  let separator = '{\n'
  for (const part of parts) {
    yield `${separator}${JSON.stringify(part.name)}: [`
    separator = ',\n'
    let comma = '\n'
    for (let after = ''; ; ) {
      await prove()
      const rows = await part.read(ctx.db.kysely, userId, after, ctx)
      for (const row of rows) {
        yield `${comma}${JSON.stringify(row)}`
        comma = ',\n'
        after = row.id
      }
      if (rows.length < (part.pageSize ?? pageSize)) break
    }
    yield ']'
  }
  yield '\n}\n'
}

const parts: readonly Part[] = [
  {
    name: 'account',
    read: (db, userId, after) =>
      db
        .selectFrom('users')
        .select(['id', 'email', 'username', 'adminSince', 'emailVerifiedAt', 'createdAt', 'lastLoginAt'])
        .where('id', '=', userId)
        .where('id', '>', after)
        .execute(),
  },
  ofUser('sessions', [
    'id',
    'deviceName',
    'userAgent',
    'ip',
    'amr',
    'createdAt',
    'lastSeenAt',
    'expiresAt',
    'revokedAt',
  ]),
  ofUser('knownDevices', ['id', 'name', 'createdAt', 'lastUsedAt']),
  ofUser('factors', ['id', 'kind', 'name', 'createdAt', 'confirmedAt', 'lastUsedAt']),
  ofUser('externalIdentities', ['id', 'issuer', 'subject', 'createdAt', 'lastUsedAt']),
  ofUser('apiKeys', [
    'id',
    'name',
    'prefix',
    'scopes',
    'projectId',
    'createdAt',
    'expiresAt',
    'lastUsedAt',
    'revokedAt',
  ]),
  {
    name: 'teams',
    read: (db, userId, after) =>
      db
        .selectFrom('teamMembers')
        .innerJoin('teams', 'teams.id', 'teamMembers.teamId')
        .select(['teams.id', 'teams.name', 'teamMembers.role', 'teamMembers.createdAt'])
        .where('teamMembers.userId', '=', userId)
        .where('teams.id', '>', after)
        .orderBy('teams.id')
        .limit(pageSize)
        .execute(),
  },
  {
    name: 'projects',
    read: (db, userId, after) =>
      db
        .selectFrom('projectMembers')
        .innerJoin('projects', 'projects.id', 'projectMembers.projectId')
        .select(['projects.id', 'projects.name', 'projectMembers.role', 'projectMembers.createdAt'])
        .where('projectMembers.userId', '=', userId)
        .where('projects.id', '>', after)
        .orderBy('projects.id')
        .limit(pageSize)
        .execute(),
  },
  {
    name: 'invitations',
    read: (db, userId, after) =>
      db
        .selectFrom('invitations')
        .select(['id', 'teamId', 'role', 'createdAt', 'expiresAt', 'acceptedAt', 'revokedAt'])
        .where((eb) =>
          eb.or([
            eb('invitedBy', '=', userId),
            eb('emailKey', '=', eb.selectFrom('users').select('users.emailKey').where('users.id', '=', userId)),
          ]),
        )
        .where('id', '>', after)
        .orderBy('id')
        .limit(pageSize)
        .execute(),
  },
  {
    name: 'jobs',
    pageSize: jobsPageSize,
    read: (db, userId, after) =>
      db
        .selectFrom('jobs')
        .select(['id', 'projectId', 'kind', 'state', 'subject', 'input', 'submittedAt', 'finishedAt'])
        .where('submittedByUser', '=', userId)
        .where('id', '>', after)
        .orderBy('id')
        .limit(jobsPageSize)
        .execute(),
  },
  {
    name: 'schedules',
    read: (db, userId, after) =>
      db
        .selectFrom('schedules')
        .select(['id', 'projectId', 'name', 'cron', 'timeZone', 'submission', 'createdAt', 'pausedAt', 'lastRunAt'])
        .where('submittedByUser', '=', userId)
        .where('id', '>', after)
        .orderBy('id')
        .limit(jobsPageSize)
        .execute(),
    pageSize: jobsPageSize,
  },
  {
    name: 'webhooks',
    // Without the address, which may hold a secret of the team.
    read: (db, userId, after) =>
      db
        .selectFrom('webhooks')
        .select(['id', 'teamId', 'description', 'createdAt'])
        .where('createdBy', '=', userId)
        .where('id', '>', after)
        .orderBy('id')
        .limit(pageSize)
        .execute(),
  },
  {
    name: 'auditEvents',
    read: (db, userId, after, ctx) => listOwnEvents(ctx, db, userId, after, pageSize),
  },
]

type OfUser = 'sessions' | 'knownDevices' | 'factors' | 'externalIdentities' | 'apiKeys'

/** A table whose rows belong to the person by `user_id`; only the columns named leave it. */
function ofUser(name: OfUser, columns: readonly string[]): Part {
  return {
    name,
    read: (db, userId, after) =>
      db
        .selectFrom(name)
        .select(columns as readonly 'id'[])
        .where('userId', '=', userId)
        .where('id', '>', after)
        .orderBy('id')
        .limit(pageSize)
        .execute(),
  }
}

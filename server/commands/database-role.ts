import { readConfig } from '../platform/config.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { ensureRuntimeRole } from '../platform/db/runtime-role.ts'
import { sqlState } from '../platform/db/sql-state.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand, withContext } from './operator-command.ts'

/**
 * Makes the PostgreSQL role the server is to run as, or gives it its rights anew: it works with every table, and of the audit log it can change nothing.
 * Run as the owner of the tables, named by `HIVESYNC_DATABASE_MIGRATION_URL` or else `HIVESYNC_DATABASE_URL`.
 */
export function databaseRoleCommand(name: string | undefined): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    if (name === undefined) throw new CommandRefused('Say how the role is called: --name NAME.')
    const config = readConfig()
    const ownerUrl = config.migrationUrl ?? config.databaseUrl
    if (ownerUrl.startsWith('sqlite:'))
      throw new CommandRefused(
        'SQLite has no roles: whoever can write the file can change the log, and `hivesync audit verify` finds it.',
      )
    const owner = { ...config, databaseUrl: ownerUrl, migrationUrl: null }
    const { password } = await withContext((ctx) => ensureRuntimeRole(ctx.db, name), owner).catch(explain)
    const url = new URL(ownerUrl)
    url.username = name
    url.password = password ?? 'PASSWORD'
    return {
      exitCode: 0,
      json: { name, created: password !== null, databaseUrl: url.href },
      lines: [
        password === null
          ? `The role ${name} has its rights.`
          : `The role ${name} was made; its password is shown this once.`,
        `HIVESYNC_DATABASE_URL=${url.href}`,
        'Keep the present address as HIVESYNC_DATABASE_MIGRATION_URL: updates need the owner of the tables.',
      ],
    }
  })
}

function explain(error: unknown): never {
  if (error instanceof DatabaseError && error.code === 'role_refused') throw new CommandRefused(error.message)
  if (sqlState(error) === '42501')
    throw new CommandRefused('Only the owner of the tables, who may make roles, can do this.')
  throw error
}

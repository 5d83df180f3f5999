import { type Config, ConfigError, readConfig } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { createLogger, openStandardError } from '../platform/logger.ts'
import { openContext } from '../platform/open-context.ts'

/** What an operator's command answers with: one JSON document, and the same as lines for people. */
export interface OperatorOutcome {
  exitCode: number
  json?: unknown
  lines?: string[]
}

/** EX_CONFIG of sysexits.h, as `hivesync serve`. */
const refusedConfiguration = 78
const failed = 1

/** The command cannot be done, for a reason that the operator can do something about. */
export class CommandRefused extends Error {
  override name = 'CommandRefused'
}

/** Runs a command; what the operator can mend becomes lines on standard error and an exit code: 78 for the configuration, 1 for everything else. */
export async function runOperatorCommand(work: () => Promise<OperatorOutcome>): Promise<OperatorOutcome> {
  try {
    return await work()
  } catch (error) {
    const problems = problemsOf(error)
    if (problems === undefined) throw error
    for (const problem of problems) process.stderr.write(`${problem}\n`)
    return { exitCode: error instanceof ConfigError ? refusedConfiguration : failed }
  }
}

/** Gives the work a context on the configured database, and closes it. On SQLite the server must not run: throws `CommandRefused` that says so. */
export async function withContext<T>(work: (ctx: Context) => Promise<T>, config: Config = readConfig()): Promise<T> {
  const log = createLogger(openStandardError())
  const ctx = await openContext(config, log).catch((error: unknown) => {
    if (!(error instanceof DatabaseError && error.code === 'database_in_use')) throw error
    throw new CommandRefused('The server runs on this database: stop it first, SQLite serves one process at a time.')
  })
  try {
    return await work(ctx)
  } finally {
    await ctx.mail.close()
    await ctx.db.close()
    await log.flush()
  }
}

function problemsOf(error: unknown): readonly string[] | undefined {
  if (error instanceof ConfigError) return error.problems
  if (error instanceof CommandRefused) return [error.message]
  // A file or a folder that is not there, or may not be read or written.
  const isFile = error instanceof Error && 'syscall' in error && 'path' in error
  return isFile ? [error.message] : undefined
}

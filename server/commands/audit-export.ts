import { open } from 'node:fs/promises'
import { exportLog } from '../audit/log-export.ts'
import { findLastCheckpoint } from '../audit/queries.ts'
import { AuditBroken } from '../audit/tree.ts'
import { readConfig } from '../platform/config.ts'
import { openReadOnly } from '../platform/db/read-only.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand } from './operator-command.ts'

/** Writes the log up to its last checkpoint into a new file that `hivesync audit verify --export` judges by itself; the server may go on working. */
export function auditExportCommand(path: string): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    const database = await openReadOnly(readConfig().databaseUrl)
    try {
      const last = await findLastCheckpoint(database.kysely)
      if (last === undefined)
        throw new CommandRefused('The log has no checkpoint yet: the server signs one within ten seconds.')
      // Readable by its owner alone, and never over what is there.
      const file = await open(path, 'wx', 0o600)
      try {
        for await (const line of exportLog(database.kysely)) await file.write(line)
        await file.sync()
      } finally {
        await file.close()
      }
      return {
        exitCode: 0,
        json: { path, size: last.size, checkpoint: last.note },
        lines: [
          `${path}: the first ${last.size} leaves. Verify it anywhere: hivesync audit verify --export ${path} --key KEY`,
        ],
      }
    } catch (error) {
      if (!(error instanceof AuditBroken)) throw error
      throw new CommandRefused(`The log is broken: ${error.message}. See: hivesync audit verify`)
    } finally {
      await database.close()
    }
  })
}

import { dayMs, pruneAudit } from '../audit/prune.ts'
import { AuditBroken } from '../audit/tree.ts'
import { readConfig } from '../platform/config.ts'
import { sqlState } from '../platform/db/sql-state.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand, withContext } from './operator-command.ts'

/** Prunes the audit log as `HIVESYNC_AUDIT_RETENTION_DAYS` or `days` says, with the role of `HIVESYNC_DATABASE_MAINTENANCE_URL` where there is one. */
export function auditPruneCommand(days: string | undefined): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    const config = readConfig()
    const kept = days === undefined ? config.audit.retentionDays : readDays(days)
    if (kept === null)
      throw new CommandRefused('Say how long events are kept: --days DAYS, or HIVESYNC_AUDIT_RETENTION_DAYS.')
    const asMaintainer = { ...config, databaseUrl: config.maintenanceUrl ?? config.databaseUrl }
    const { leaves, first } = await withContext(async (ctx) => {
      try {
        return await pruneAudit(ctx, ctx.clock.now() - kept * dayMs)
      } catch (error) {
        if (error instanceof AuditBroken)
          throw new CommandRefused(
            `Nothing is pruned of a log that is broken: ${error.message}. See: hivesync audit verify`,
          )
        if (sqlState(error) === '42501')
          throw new CommandRefused('The role may not prune: name one that may in HIVESYNC_DATABASE_MAINTENANCE_URL.')
        throw error
      }
    }, asMaintainer)
    return {
      exitCode: 0,
      json: { pruned: leaves, first },
      lines: [`${leaves} leaves pruned; the log now begins with leaf ${first}. What is left still proves itself.`],
    }
  })
}

function readDays(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1)
    throw new CommandRefused('--days is a whole number of days, 1 or more.')
  return Number(text)
}

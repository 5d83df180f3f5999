import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { BackupUnreadable, restoreBackup, verifyBackup, writeBackup } from '../backup/backup.ts'
import { systemClock } from '../platform/clock.ts'
import { type Config, readConfig } from '../platform/config.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { isOutage } from '../platform/db/outage.ts'
import { AppError } from '../platform/errors.ts'
import { readLocalSecret } from '../platform/local-secret.ts'
import { createLogger, openStandardError } from '../platform/logger.ts'
import { openContext } from '../platform/open-context.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand } from './operator-command.ts'

/** Writes a backup of the server that this environment configures; it may go on working. */
export function backupCommand(path: string): Promise<OperatorOutcome> {
  return runOperatorCommand(() =>
    refusing(async () => {
      const parts = readParts()
      const { rows, ...made } = await writeBackup(parts, resolve(path))
      const count = Object.values(rows).reduce((sum, each) => sum + each, 0)
      const secretFrom = parts.config.secrets.length > 0 ? 'HIVESYNC_SECRET' : `the file ${parts.config.dataDir}/secret`
      return {
        exitCode: 0,
        json: { path: resolve(path), rows: count, ...made },
        lines: [
          `${path}: ${count} rows and ${made.objects} stored files, ${made.bytes} bytes.`,
          `It opens with ${secretFrom} alone, which is not in it: keep a copy of that somewhere else.`,
          `Try it now: hivesync backup --verify ${path}`,
        ],
      }
    }),
  )
}

/** Exits with 1 where it could be restored, and would not be the server that it was. */
export function verifyBackupCommand(path: string): Promise<OperatorOutcome> {
  return runOperatorCommand(() =>
    refusing(async () => {
      const { header, trailer, unopenable, audit } = await verifyBackup(readParts(), resolve(path))
      const count = Object.values(trailer.rows).reduce((sum, each) => sum + each, 0)
      const [finding] = audit.findings
      const faults = [
        ...(unopenable > 0
          ? [`${unopenable} sealed values in it open with none of the secrets in HIVESYNC_SECRET.`]
          : []),
        ...(finding === undefined
          ? []
          : [
              `Its audit log was tampered with${finding.seq === null ? '' : `, first at leaf ${finding.seq}`}: ${finding.what}.`,
            ]),
      ]
      return {
        exitCode: faults.length === 0 ? 0 : 1,
        json: {
          path: resolve(path),
          createdAt: header.createdAt,
          rows: count,
          objects: trailer.objects,
          ended: trailer.ended,
          unopenable,
          audit: { outcome: audit.outcome, leaves: audit.leaves, checkpoints: audit.checkpoints },
        },
        lines: [
          `${path}, of ${header.createdAt}, can be restored: ${count} rows, ${trailer.objects} stored files, ${audit.leaves} leaves of the audit log.`,
          ...faults,
        ],
      }
    }),
  )
}

export function restoreCommand(path: string): Promise<OperatorOutcome> {
  return runOperatorCommand(() =>
    refusing(async () => {
      const parts = readParts()
      const log = createLogger(openStandardError())
      const { header, trailer } = await restoreBackup(parts, resolve(path), () => openContext(parts.config, log))
      await log.flush()
      return {
        exitCode: 0,
        json: { createdAt: header.createdAt, rows: trailer.rows, objects: trailer.objects },
        lines: [
          `Restored the server as it was at ${header.createdAt}.`,
          'Everybody must sign in again. API keys and workers that were revoked after that time are valid again: revoke them.',
          'Repositories are searched again after their next ingest.',
        ],
      }
    }),
  )
}

function readParts() {
  const config = readConfig()
  return { config, keyring: openKeyring(secretsOf(config)), clock: systemClock }
}

function secretsOf(config: Config): readonly string[] {
  if (config.secrets.length > 0) return config.secrets
  // A new one would open nothing that is there already.
  if (!existsSync(resolve(config.dataDir, 'secret')))
    throw new CommandRefused(
      `There is no secret: put the file back at ${config.dataDir}/secret, or set HIVESYNC_SECRET to what it says.`,
    )
  return [readLocalSecret(config.dataDir)]
}

/** What the operator can mend, in words. */
async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof BackupUnreadable) throw new CommandRefused(`The backup cannot be used: ${error.message}.`)
    if (error instanceof AppError) throw new CommandRefused(`The store refused: ${error.details.reason ?? error.code}.`)
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new CommandRefused('The disk is full.')
    // The database is away, full, or not one of theirs to change.
    if (isOutage(error) || code === '42501')
      throw new CommandRefused(`The database refused: ${(error as Error).message}`)
    if (!(error instanceof DatabaseError)) throw error
    if (error.code === 'database_in_use') throw new CommandRefused('The server runs on this database: stop it first.')
    throw new CommandRefused(error.message)
  }
}

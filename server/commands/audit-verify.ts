import { readFile } from 'node:fs/promises'
import { type NoteVerifier, readVerifierKey } from '@hivesync/protocol/signed-note.ts'
import type { Verification } from '../audit/verify.ts'
import { verifyDatabase } from '../audit/verify-database.ts'
import { verifyExport } from '../audit/verify-export.ts'
import { readConfig } from '../platform/config.ts'
import { DatabaseError } from '../platform/db/database-error.ts'
import { openReadOnly } from '../platform/db/read-only.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand } from './operator-command.ts'
import { readLines } from './read-lines.ts'

export interface VerifyOptions {
  /** A file with a checkpoint that was kept elsewhere. */
  checkpoint?: string | undefined
  /** A file of `hivesync audit export`. */
  export?: string | undefined
  /** A verifier key, or a file with one a line. */
  key?: string | undefined
}

/** 1 is for a log that was tampered with; what cannot be judged must not pass for it, nor for a good one. */
const exitCodes = { ok: 0, tampered: 1, unjudged: 2 }
const maxLineBytes = 1024 * 1024
const maxShown = 20

/** Verifies the log of the configured database, also while the server works, or that of an export alone. */
export function auditVerifyCommand(options: VerifyOptions): Promise<OperatorOutcome> {
  return runOperatorCommand(async () => {
    try {
      const kept = options.checkpoint === undefined ? [] : [await readFile(options.checkpoint, 'utf8')]
      const trusted = options.key === undefined ? undefined : await readKeys(options.key)
      return report(await verify(options, kept, trusted))
    } catch (error) {
      // The log could not be read at all: no verdict, whatever the reason.
      if (error instanceof CommandRefused) return refusal(error.message)
      if (error instanceof DatabaseError) return refusal(error.message)
      if (error instanceof Error && 'syscall' in error) return refusal(error.message)
      throw error
    }
  })
}

async function verify(
  options: VerifyOptions,
  kept: readonly string[],
  trusted: readonly NoteVerifier[] | undefined,
): Promise<Verification> {
  if (options.export !== undefined) {
    if (trusted === undefined)
      throw new CommandRefused(
        'Say whose signatures count: --key KEY, as `hivesync audit head` of that server shows it.',
      )
    return verifyExport(linesOf(options.export), trusted, kept)
  }
  const database = await openReadOnly(readConfig().databaseUrl)
  try {
    return await verifyDatabase(database.kysely, { kept, ...(trusted !== undefined && { trusted }) })
  } finally {
    await database.close()
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  for await (const { number, bytes } of readLines(path, maxLineBytes)) {
    if (bytes === undefined) throw new CommandRefused(`Line ${number} is longer than any line of an export.`)
    yield bytes.toString('utf8')
  }
}

/** A key itself, or the file that holds one or several, as they were when nobody had tampered. */
async function readKeys(given: string): Promise<NoteVerifier[]> {
  const text = given.includes('+') ? given : await readFile(given, 'utf8')
  const words = text.split('\n').map((line) => line.trim())
  try {
    return words.filter((line) => line !== '').map(readVerifierKey)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CommandRefused('The key is not a verifier key: name+8 digits+base64, as `hivesync audit head` shows it.')
  }
}

function report(found: Verification): OperatorOutcome {
  const { outcome, leaves, size, checkpoints, findings, notes } = found
  const heading = {
    ok: `The log is whole: ${leaves} of ${size} leaves hashed again, ${checkpoints} checkpoints hold.`,
    tampered: `The log was tampered with${findings[0]?.seq == null ? '' : `, first at leaf ${findings[0].seq}`}.`,
    unjudged: 'Whether the log is whole cannot be said.',
  }[outcome]
  const shown = findings.slice(0, maxShown).map(({ seq, what }) => `${seq === null ? '' : `leaf ${seq}: `}${what}`)
  const more = findings.length > maxShown ? [`… and ${findings.length - maxShown} more`] : []
  return { exitCode: exitCodes[outcome], json: found, lines: [heading, ...shown, ...more, ...notes] }
}

function refusal(message: string): OperatorOutcome {
  process.stderr.write(`${message}\n`)
  return { exitCode: exitCodes.unjudged, json: { outcome: 'unjudged', notes: [message] } }
}

import { loginKey } from '../accounts/accounts.ts'
import { type ImportedAccount, importBatchSize, openImport } from '../accounts/password-import.ts'
import type { Context } from '../platform/context.ts'
import { parseImportLine } from './import-line.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand, withContext } from './operator-command.ts'
import { readLines } from './read-lines.ts'

const maxLineBytes = 4096
const badData = 1
/** What a terminal should not be flooded with; `--json` has all of it. */
const maxShown = 50

export interface Finding {
  line: number
  message: string
}

interface Numbered {
  line: number
  account: ImportedAccount
}

/**
 * Imports people from a file of JSON lines: all of it is read and judged before anything is stored, and one bad line stops it. Who is there already is
 * left out and reported, so that it can be run again after an interruption.
 */
export function importUsersCommand(path: string): Promise<OperatorOutcome> {
  return runOperatorCommand(() =>
    withContext(async (ctx) => {
      const problems = await findProblems(ctx, path)
      if (problems.length > 0) {
        for (const text of shown(problems)) process.stderr.write(`${text}\n`)
        return { exitCode: badData, json: { imported: 0, skipped: [], problems }, lines: ['Nothing was imported.'] }
      }
      const { imported, skipped } = await importAll(ctx, path)
      return {
        exitCode: 0,
        json: { imported, skipped, problems },
        lines: [...shown(skipped), `${imported} imported, ${skipped.length} left out.`],
      }
    }),
  )
}

/** Every line that cannot be imported, also those that name somebody a second time. */
export async function findProblems(ctx: Context, path: string): Promise<Finding[]> {
  const problems: Finding[] = []
  const names = new Map<string, number>()
  for await (const { number, bytes } of readLines(path, maxLineBytes)) {
    const read = bytes === undefined ? { problem: `is longer than ${maxLineBytes} bytes` } : readLine(ctx, bytes)
    if (read === undefined) continue
    if ('problem' in read) {
      problems.push({ line: number, message: read.problem })
      continue
    }
    for (const name of [loginKey(read.email), loginKey(read.username)]) {
      const before = names.get(name)
      if (before === undefined) names.set(name, number)
      else problems.push({ line: number, message: `names somebody whom line ${before} names` })
    }
  }
  return problems
}

/** Imports every line of a file without problems, fifty in a transaction; what was committed stays when it is interrupted. */
export async function importAll(ctx: Context, path: string): Promise<{ imported: number; skipped: Finding[] }> {
  const importBatch = openImport(ctx)
  const skipped: Finding[] = []
  let imported = 0
  async function flush(batch: readonly Numbered[]): Promise<void> {
    const left = await importBatch(batch.map(({ account }) => account))
    imported += batch.length - left.length
    for (const { line, account } of batch)
      if (left.includes(account))
        skipped.push({ line, message: 'is left out: the email address or the username is taken' })
  }
  const batch: Numbered[] = []
  for await (const { number, bytes } of readLines(path, maxLineBytes)) {
    const read = bytes === undefined ? undefined : readLine(ctx, bytes)
    if (read === undefined && bytes !== undefined) continue
    // It was judged a moment ago.
    if (read === undefined || 'problem' in read)
      throw new CommandRefused(`Line ${number} changed while it was imported.`)
    batch.push({ line: number, account: read })
    if (batch.length === importBatchSize) await flush(batch.splice(0))
  }
  if (batch.length > 0) await flush(batch)
  return { imported, skipped }
}

/** Undefined for an empty line. */
function readLine(ctx: Context, bytes: Buffer) {
  return bytes.length === 0 ? undefined : parseImportLine(bytes, ctx.clock.now())
}

function shown(findings: readonly Finding[]): string[] {
  const lines = findings.slice(0, maxShown).map(({ line, message }) => `line ${line}: ${message}`)
  return findings.length > maxShown ? [...lines, `… and ${findings.length - maxShown} lines more`] : lines
}

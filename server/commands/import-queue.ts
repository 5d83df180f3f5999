import { conforms } from '@hivesync/contracts/schema.ts'
import { Id } from '@hivesync/contracts/values.ts'
import { findImportTarget, importTasks, NoSubmitter } from '../jobs/jobs.ts'
import type { Context } from '../platform/context.ts'
import { CommandRefused, type OperatorOutcome, runOperatorCommand, withContext } from './operator-command.ts'
import { type QueueFile, readQueueFile } from './queue-file.ts'

const badData = 1
/** What a terminal should not be flooded with; `--json` has all of it. */
const maxShown = 50
/** Tasks in a transaction; what was committed stays when the import is interrupted, and is known when it is run again. */
const batchSize = 50

/** Imports the waiting tasks of another queue into a project: all of the file is judged before anything is stored, and one bad task stops it unless they shall be left out. */
export function importQueueCommand(
  path: string,
  options: { project: string | undefined; skipBad: boolean },
): Promise<OperatorOutcome> {
  return runOperatorCommand(() => withContext((ctx) => importQueue(ctx, path, options)))
}

export async function importQueue(
  ctx: Context,
  path: string,
  { project: projectId, skipBad }: { project: string | undefined; skipBad: boolean },
): Promise<OperatorOutcome> {
  if (projectId === undefined || !conforms(Id, projectId))
    throw new CommandRefused('Say into which project: --project ID, as `hivesync project ls` shows it.')
  const { tasks, problems } = await readQueueFile(ctx, path)
  const lines = shown(problems)
  if (problems.length > 0 && !skipBad) {
    for (const text of lines) process.stderr.write(`${text}\n`)
    return {
      exitCode: badData,
      json: { queued: 0, expired: 0, known: 0, problems },
      lines: ['Nothing was imported. --skip-bad leaves those out.'],
    }
  }
  const counts = await importAll(ctx, projectId, tasks)
  const { queued, expired, known } = counts
  const summary = `${queued} queued, ${expired} skipped because their time to live is over, ${known} imported before, ${problems.length} left out.`
  return { exitCode: 0, json: { ...counts, problems }, lines: [...lines, summary] }
}

async function importAll(ctx: Context, projectId: string, tasks: QueueFile['tasks']) {
  const counts = { queued: 0, expired: 0, known: 0 }
  try {
    const target = await findImportTarget(ctx.db.kysely, projectId)
    if (target === undefined) throw new CommandRefused('There is no such project, or it is archived.')
    for (let start = 0; start < tasks.length; start += batchSize) {
      const batch = tasks.slice(start, start + batchSize).map(({ task }) => task)
      for (const outcome of await importTasks(ctx, target, batch)) counts[outcome]++
    }
  } catch (error) {
    if (!(error instanceof NoSubmitter)) throw error
    throw new CommandRefused('Nobody of the project may submit jobs: give it an owner who is active first.')
  }
  return counts
}

function shown(problems: QueueFile['problems']): string[] {
  const lines = problems.slice(0, maxShown).map(({ line, message }) => `line ${line}: ${message}`)
  return problems.length > maxShown ? [...lines, `… and ${problems.length - maxShown} more`] : lines
}

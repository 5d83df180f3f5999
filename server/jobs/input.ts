import type { NewJob } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { refuseRepository } from './repository.ts'

/** What the schema cannot say about an input; refuses before anything is stored. */
export function requireInput(ctx: Context, submission: NewJob): void {
  const { backoff } = submission
  if (backoff?.maxSeconds !== undefined && backoff.maxSeconds < backoff.seconds)
    throw new AppError(
      'invalid_request',
      {},
      { fields: [{ path: 'body/backoff/maxSeconds', message: 'must not be less than seconds' }] },
    )
  if (submission.kind === 'ingest') {
    refuseRepository(submission.input.repository, ctx.config.localRepos)
    return
  }
  const { command, files = [] } = submission.input
  if (command[0]?.trim() === '' || command.length === 0)
    throw new AppError(
      'invalid_request',
      {},
      { fields: [{ path: 'body/input/command/0', message: 'must name a program' }] },
    )
  const paths = new Set<string>()
  for (const [index, file] of files.entries()) {
    // A second file of the same name, or one that is also another's folder, would silently win or fail on the worker.
    const clash = paths.has(file.path) || files.some((other) => other.path.startsWith(`${file.path}/`))
    if (clash)
      throw new AppError(
        'invalid_request',
        {},
        { fields: [{ path: `body/input/files/${index}/path`, message: 'is used twice' }] },
      )
    paths.add(file.path)
  }
}

const maxSubjectLength = 120

/** What a job is about, in a few words: the repository, or the command. */
export function subjectOf(submission: NewJob): string {
  const { kind, input } = submission
  const words = kind === 'compute' ? input.command : [input.repository, ...(input.ref === undefined ? [] : [input.ref])]
  const characters = [...words.join(' ')]
  if (characters.length <= maxSubjectLength) return characters.join('')
  return `${characters.slice(0, maxSubjectLength - 1).join('')}…`
}

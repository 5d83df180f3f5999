import { type JobKind, jobKinds } from '@hivesync/contracts/job-kinds.ts'
import { usageError } from './failure.ts'

/** The kind of job that was named; kinds are what queues are called by. */
export function requireKind(named: string | undefined): JobKind {
  const kind = jobKinds.find((candidate) => candidate === named)
  if (kind === undefined) throw usageError(`A queue is one of: ${jobKinds.join(', ')}`)
  return kind
}

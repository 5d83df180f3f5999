import type { NewJob } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import type { ScheduleRow } from './queries.ts'

/** The keyring opens nothing that is longer. */
const maxSealedLength = 1024 * 1024
const placeOf = (scheduleId: string): string => `schedules:${scheduleId}`

/** A submission as a schedule keeps it: in the clear without the values of its secrets, and those sealed for this schedule alone. */
export function sealSubmission(
  ctx: Context,
  scheduleId: string,
  job: NewJob,
): { kind: string; submission: string; sealedSecrets: string | null } {
  if (job.kind !== 'compute' || job.input.secrets === undefined)
    return { kind: job.kind, submission: JSON.stringify(job), sealedSecrets: null }
  const { secrets, ...input } = job.input
  const sealedSecrets = ctx.keyring.seal('seal', JSON.stringify(secrets), placeOf(scheduleId))
  if (sealedSecrets.length > maxSealedLength)
    throw new AppError(
      'invalid_request',
      {},
      { fields: [{ path: 'body/job/input/secrets', message: 'are too long together' }] },
    )
  const shown = { ...job, input: { ...input, secretNames: Object.keys(secrets).sort() } }
  return { kind: job.kind, submission: JSON.stringify(shown), sealedSecrets }
}

/** What a run submits. Throws `SealBroken` when the secret of the server that sealed it is gone. */
export function openSubmission(ctx: Context, row: ScheduleRow): NewJob {
  const job = JSON.parse(row.submission)
  if (row.sealedSecrets === null) return job
  const secrets = JSON.parse(ctx.keyring.open('seal', row.sealedSecrets, placeOf(row.id)).toString())
  const { secretNames: _names, ...input } = job.input
  return { ...job, input: { ...input, secrets } }
}

import type { Context } from '../platform/context.ts'

const placeOf = (jobId: string): string => `job_secrets:${jobId}`

/** The values of a job's secrets as they lie in the database. */
export function sealSecrets(ctx: Context, jobId: string, secrets: Readonly<Record<string, string>>): string {
  return ctx.keyring.seal('seal', JSON.stringify(secrets), placeOf(jobId))
}

/** Throws `SealBroken` for values that were sealed for another job, or under a secret that is not listed any more. */
export function openSecrets(ctx: Context, jobId: string, sealed: string): Record<string, string> {
  return JSON.parse(ctx.keyring.open('seal', sealed, placeOf(jobId)).toString())
}

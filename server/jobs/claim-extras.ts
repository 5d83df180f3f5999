import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { findBundle } from '../bundles/bundles.ts'
import { egressOf } from '../egress/egress.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { rows, run, statement } from '../platform/db/statement.ts'
import { openSecrets } from './secrets.ts'

/** A job that is being leased, with its input as it was stored. */
export interface ClaimedJob {
  id: string
  projectId: string
  teamId: string
  kind: string
  input: Record<string, unknown>
  requestId: string | null
  traceParent: string | null
}

export type Extras = Pick<Claim, 'secrets' | 'bundle' | 'egress'>

/**
 * What jobs are handed beside their input, by their ids, read in the transaction that leases them. An `Error` in place of it ends its job as failed: one whose
 * secrets cannot be opened today cannot be run tomorrow either. Jobs that ask for nothing cost no statement.
 */
export async function claimExtras(
  ctx: Context,
  tx: Db,
  jobs: readonly ClaimedJob[],
): Promise<Map<string, Extras | Error>> {
  const extras = new Map<string, Extras | Error>()
  const add = (jobId: string, more: Extras | Error): void => {
    const before = extras.get(jobId)
    if (!(before instanceof Error)) extras.set(jobId, more instanceof Error ? more : { ...before, ...more })
  }
  await addSecrets(ctx, tx, jobs, add)
  await addEgress(tx, jobs, add)
  await addBundles(tx, jobs, add)
  return extras
}

type Add = (jobId: string, more: Extras | Error) => void

async function addSecrets(ctx: Context, tx: Db, jobs: readonly ClaimedJob[], add: Add): Promise<void> {
  const asking = jobs.filter(({ input }) => input.secretNames !== undefined)
  if (asking.length === 0) return
  const ids = asking.map(({ id }) => ({ ofJob: id }))
  const found = await run<{ jobId: string; sealed: string }>(
    tx,
    statement`select job_id, sealed from job_secrets join ${rows({ ofJob: 'text' }, ids)} on job_id = of_job`,
  )
  const sealed = new Map(found.map((row) => [row.jobId, row.sealed]))
  for (const { id } of asking) add(id, readSecrets(ctx, id, sealed.get(id)))
}

function readSecrets(ctx: Context, jobId: string, sealed: string | undefined): Extras | Error {
  if (sealed === undefined) return new Error('a job has lost its secrets')
  try {
    return { secrets: openSecrets(ctx, jobId, sealed) }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

async function addEgress(tx: Db, jobs: readonly ClaimedJob[], add: Add): Promise<void> {
  const asking = jobs.filter(({ input }) => input.install !== undefined)
  if (asking.length === 0) return
  const answers = await egressOf(tx, [...new Set(asking.map(({ projectId }) => projectId))])
  for (const { id, projectId } of asking) {
    const egress = answers.get(projectId)
    if (egress !== undefined) add(id, { egress })
  }
}

/** A bundle that is gone, as that of an old job tried again may be, is not there: the worker says so of the job. */
async function addBundles(tx: Db, jobs: readonly ClaimedJob[], add: Add): Promise<void> {
  for (const { id, projectId, input } of jobs) {
    if (typeof input.bundle !== 'string') continue
    const found = await findBundle(tx, projectId, input.bundle)
    if (found === undefined) continue
    const { bytes, unpackedBytes, entries, sha256 } = found
    add(id, { bundle: { id: found.id, bytes, unpackedBytes, entries, sha256 } })
  }
}

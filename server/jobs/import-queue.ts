import type { NewJob } from '@hivesync/contracts/jobs.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, nobody, system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { moveCounters } from './counters.ts'
import { finishJob } from './end.ts'
import { deleteQueued, findJobByKey, findProject, lockIdempotencyKeys } from './queries.ts'
import { isRightless } from './rights.ts'
import { submitIn } from './submit.ts'

/** A task of another queue. */
export interface ImportedTask {
  /** Says which task of which file it is: the same one is never imported twice. */
  key: string
  job: NewJob
  /** Since when it waits; from the import on where the old queue did not know. */
  submittedAt: number | null
}

export type ImportOutcome = 'queued' | 'expired' | 'known'

/** Nobody of the project may submit such jobs, so that what is imported would never run. */
export class NoSubmitter extends Error {
  override name = 'NoSubmitter'
}

/**
 * Whose rights imported tasks act with: the operator's own key that is bound to the project, else the longest-standing owner. Undefined for a project
 * that does not exist, or is archived.
 */
export async function findImportTarget(db: Db, projectId: string) {
  const project = await findProject(db, projectId)
  if (project === undefined || project.archivedAt !== null) return undefined
  return { project, actor: await findSubmitter(db, projectId) }
}

async function findSubmitter(db: Db, projectId: string): Promise<Actor> {
  const key = await db
    .selectFrom('apiKeys')
    .select('id')
    .where('projectId', '=', projectId)
    .where('userId', 'is', null)
    .where('revokedAt', 'is', null)
    .orderBy('id')
    .executeTakeFirst()
  if (key !== undefined) return { ...nobody, kind: 'key', id: key.id, requestId: null, ip: null }
  const owner = await db
    .selectFrom('projectMembers')
    .innerJoin('users', 'users.id', 'projectMembers.userId')
    .select('users.id')
    .where('projectMembers.projectId', '=', projectId)
    .where('projectMembers.role', '=', 'owner')
    .where('users.deactivatedAt', 'is', null)
    .orderBy('projectMembers.createdAt')
    .orderBy('users.id')
    .executeTakeFirst()
  if (owner === undefined) throw new NoSubmitter()
  return { ...nobody, kind: 'user', id: owner.id, userId: owner.id, requestId: null, ip: null }
}

/**
 * Imports tasks in one transaction. They take places beyond the project's cap, for the old queue had accepted them: it is an operator's act, and until they
 * have drained new submissions are refused. One whose time to live is over is recorded as `skipped`, and not run.
 */
export async function importTasks(
  ctx: Context,
  { project, actor }: NonNullable<Awaited<ReturnType<typeof findImportTarget>>>,
  tasks: readonly ImportedTask[],
): Promise<ImportOutcome[]> {
  const outcomes = await ctx.db.transaction(async (tx) => {
    const keys = tasks.map(({ key }) => ({ projectId: project.id, key }))
    await lockIdempotencyKeys(tx, keys)
    const outcomes: ImportOutcome[] = []
    for (const task of tasks) outcomes.push(await importTask(ctx, tx, project, actor, task))
    const count = outcomes.filter((outcome) => outcome !== 'known').length
    if (count === 0) return outcomes
    await recordAudit(ctx, tx, system, {
      action: 'queue.imported',
      target: { kind: 'project', id: project.id },
      teamId: project.teamId,
      projectId: project.id,
      details: { count },
    })
    return outcomes
  })
  ctx.bus.publish('jobs')
  return outcomes
}

async function importTask(
  ctx: Context,
  tx: Db,
  project: { id: string; teamId: string; archivedAt: number | null },
  actor: Actor,
  task: ImportedTask,
): Promise<ImportOutcome> {
  if ((await findJobByKey(tx, project.id, task.key)) !== undefined) return 'known'
  const now = ctx.clock.now()
  const origin = {
    key: task.key,
    requestHash: sha256Hex(JSON.stringify(task.job)),
    importedSince: task.submittedAt ?? now,
  }
  const { job } = await submitIn(ctx, tx, actor, project, task.job, origin)
  if (await isRightless(tx, job.id, now)) throw new NoSubmitter()
  if (Date.parse(job.expiresAt) > now) return 'queued'
  await deleteQueued(tx, job.id)
  const place = { teamId: project.teamId, projectId: project.id, kind: job.kind }
  await finishJob(
    ctx,
    tx,
    system,
    { id: job.id, ...place, requestId: job.requestId ?? null },
    { state: 'skipped', skipReason: 'ttl_expired' },
  )
  await moveCounters(tx, { ...place, waiting: -1, running: 0 })
  return 'expired'
}

import type { JobKind } from '@hivesync/contracts/job-kinds.ts'
import type { Queue } from '@hivesync/contracts/queues.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { requireProject, visibleProjects } from '../projects/projects.ts'
import { ensureQueue } from './counters.ts'

/** Waiting and running jobs by project and kind, over the projects the actor may see, and what holds them up. */
export async function listQueues(ctx: Context, actor: Actor, query: { limit?: string; cursor?: string }) {
  const request = pageRequest(query)
  const [afterProject = '', afterKind = ''] = (request.after ?? '').split(/-(?=[a-z]+$)/)
  let select = selectQueues(ctx.db.kysely)
    .where('queueCounters.projectId', 'in', visibleProjects(ctx.db.kysely, actor))
    .orderBy('queueCounters.projectId', 'desc')
    .orderBy('queueCounters.kind')
    .limit(request.limit + 1)
  if (request.after !== undefined) {
    select = select.where((eb) =>
      eb.or([
        eb('queueCounters.projectId', '<', afterProject),
        eb.and([eb('queueCounters.projectId', '=', afterProject), eb('queueCounters.kind', '>', afterKind)]),
      ]),
    )
  }
  return toPage(await select.execute(), request, (row) => `${row.projectId}-${row.kind}`, toQueue)
}

/** Pauses, resumes or limits one queue of a project; what is said again changes nothing, and what is not said stays. */
export async function updateQueue(
  ctx: Context,
  actor: Actor,
  { projectId, kind }: { projectId: string; kind: JobKind },
  change: { paused?: boolean; maxRunning?: number | null },
): Promise<Queue> {
  const queue = await ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'projects:write')
    await ensureQueue(tx, project, kind)
    const { paused, maxRunning } = change
    if (paused !== undefined) await setPaused(tx, projectId, kind, paused ? ctx.clock.now() : null)
    if (maxRunning !== undefined) await setMaxRunning(tx, projectId, kind, maxRunning)
    const row = await selectQueues(tx)
      .where('queueCounters.projectId', '=', projectId)
      .where('queueCounters.kind', '=', kind)
      .executeTakeFirstOrThrow()
    await recordAudit(ctx, tx, actor, {
      action: 'queue.updated',
      target: { kind: 'project', id: projectId },
      teamId: project.teamId,
      projectId,
      details: { kind, paused: row.pausedAt !== null, maxRunning: row.maxRunning },
    })
    return toQueue(row)
  })
  ctx.bus.publish('jobs')
  return queue
}

/** Pauses all queues of a kind; one that is paused keeps its time and its reason. */
export async function pauseQueues(ctx: Context, actor: Actor, kind: JobKind, reason: string | undefined) {
  return ctx.db.transaction(async (tx) => {
    const inserted = await tx
      .insertInto('queuePauses')
      .values({ kind, pausedAt: ctx.clock.now(), pausedBy: actor.userId, reason: reason?.normalize('NFC') ?? null })
      .onConflict((conflict) => conflict.column('kind').doNothing())
      .executeTakeFirst()
    if (inserted.numInsertedOrUpdatedRows === 1n) await auditKind(ctx, tx, actor, 'queue.paused', kind)
    return { kind, paused: toPause(await findPause(tx, kind), null) }
  })
}

/** Ends the pause of a kind; queues that their projects have paused stay so. */
export async function resumeQueues(ctx: Context, actor: Actor, kind: JobKind) {
  await ctx.db.transaction(async (tx) => {
    const deleted = await tx.deleteFrom('queuePauses').where('kind', '=', kind).executeTakeFirst()
    if (deleted.numDeletedRows === 1n) await auditKind(ctx, tx, actor, 'queue.resumed', kind)
  })
  ctx.bus.publish('jobs')
  return { kind, paused: null }
}

function auditKind(ctx: Context, tx: Db, actor: Actor, action: string, kind: JobKind): Promise<void> {
  return recordAudit(ctx, tx, actor, { action, target: { kind: 'queue', id: kind } })
}

/** The pause of a kind that an admin made. */
export function findPause(db: Db, kind: string): Promise<{ pausedAt: number; reason: string | null } | undefined> {
  return db.selectFrom('queuePauses').select(['pausedAt', 'reason']).where('kind', '=', kind).executeTakeFirst()
}

function selectQueues(db: Db) {
  return db
    .selectFrom('queueCounters')
    .leftJoin('queuePauses', 'queuePauses.kind', 'queueCounters.kind')
    .selectAll('queueCounters')
    .select(['queuePauses.pausedAt as kindPausedAt', 'queuePauses.reason'])
}

function toQueue(row: Awaited<ReturnType<ReturnType<typeof selectQueues>['execute']>>[number]): Queue {
  const { projectId, waiting, running, maxWaiting, maxRunning } = row
  const ofKind = row.kindPausedAt === null ? undefined : { pausedAt: row.kindPausedAt, reason: row.reason }
  const paused = toPause(ofKind, row.pausedAt)
  return { kind: row.kind as JobKind, projectId, waiting, running, maxWaiting, maxRunning, paused }
}

// The admin's pause is said first: resuming the project's own would not help while it holds.
function toPause(
  ofKind: { pausedAt: number; reason: string | null } | undefined,
  ofProject: number | null,
): Queue['paused'] {
  if (ofKind !== undefined) return { by: 'admin', since: isoTime(ofKind.pausedAt), reason: ofKind.reason }
  return ofProject === null ? null : { by: 'project', since: isoTime(ofProject), reason: null }
}

/** A queue that is paused keeps the time of its first pause. */
async function setPaused(tx: Db, projectId: string, kind: string, at: number | null): Promise<void> {
  await tx
    .updateTable('queueCounters')
    .set((eb) => ({ pausedAt: at === null ? null : eb.fn.coalesce('pausedAt', eb.val(at)) }))
    .where('projectId', '=', projectId)
    .where('kind', '=', kind)
    .execute()
}

async function setMaxRunning(tx: Db, projectId: string, kind: string, maxRunning: number | null): Promise<void> {
  await tx
    .updateTable('queueCounters')
    .set({ maxRunning })
    .where('projectId', '=', projectId)
    .where('kind', '=', kind)
    .execute()
}

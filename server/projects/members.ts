import type { ProjectRole } from '@hivesync/contracts/access.ts'
import type { ProjectMember } from '@hivesync/contracts/projects.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import { revoking } from '../platform/revocation.ts'
import { requireProject } from './projects.ts'
import {
  deleteMember,
  findActiveUser,
  findMember,
  insertMember,
  listMemberRows,
  listOwnerIds,
  type MemberRow,
  setMemberRole,
} from './queries.ts'

export async function listProjectMembers(
  ctx: Context,
  actor: Actor,
  projectId: string,
  query: { limit?: string; cursor?: string },
) {
  await requireProject(ctx.db.kysely, actor, projectId, 'projects:read')
  const request = pageRequest(query)
  return toPage(await listMemberRows(ctx.db.kysely, projectId, request), request, (row) => row.userId, toMember)
}

export async function addProjectMember(
  ctx: Context,
  actor: Actor,
  projectId: string,
  body: { username: string; role: ProjectRole },
): Promise<ProjectMember> {
  return ctx.db.transaction(async (tx) => {
    await lockMembers(tx, projectId)
    const project = await requireProject(tx, actor, projectId, 'projects:write')
    const user = await findActiveUser(tx, body.username)
    if (user === undefined) throw new AppError('user_not_found')
    if ((await findMember(tx, projectId, user.id)) !== undefined) throw new AppError('member_exists')
    const createdAt = ctx.clock.now()
    await insertMember(tx, { projectId, userId: user.id, role: body.role, createdAt })
    await auditMember(ctx, tx, actor, project, 'added', user.id, body.role)
    return { userId: user.id, username: user.username, role: body.role, createdAt: isoTime(createdAt) }
  })
}

/** Changes a member's role; the last owner keeps it, also when two owners demote each other at once. What stood on a greater role ends with it. */
export async function changeProjectMember(
  ctx: Context,
  actor: Actor,
  projectId: string,
  userId: string,
  role: ProjectRole,
): Promise<ProjectMember> {
  return revoking(ctx, actor, async (tx, revoke) => {
    await lockMembers(tx, projectId)
    const project = await requireProject(tx, actor, projectId, 'projects:write')
    const member = await requireMember(tx, projectId, userId)
    if (role !== 'owner') await requireAnotherOwner(tx, projectId, userId)
    await setMemberRole(tx, projectId, userId, role)
    await auditMember(ctx, tx, actor, project, 'changed', userId, role)
    await revoke({ users: [userId] })
    return toMember({ ...member, role })
  })
}

/** Takes a member out: an owner anybody, everybody else only themselves. What stood on the membership ends with it: jobs, streams. */
export async function removeProjectMember(
  ctx: Context,
  actor: Actor,
  projectId: string,
  userId: string,
): Promise<void> {
  await revoking(ctx, actor, async (tx, revoke) => {
    await lockMembers(tx, projectId)
    const project = await requireProject(
      tx,
      actor,
      projectId,
      userId === actor.userId ? 'projects:read' : 'projects:write',
    )
    await requireMember(tx, projectId, userId)
    await requireAnotherOwner(tx, projectId, userId)
    await deleteMember(tx, projectId, userId)
    await auditMember(ctx, tx, actor, project, 'removed', userId, null)
    await revoke({ users: [userId] })
  })
}

// Changes of one project's members queue up here, before the rights are read: of two owners who demote each other at once, one is no owner any more.
function lockMembers(tx: Db, projectId: string): Promise<void> {
  return withLock(tx, `members:${projectId}`)
}

async function requireMember(tx: Db, projectId: string, userId: string): Promise<MemberRow> {
  const member = await findMember(tx, projectId, userId)
  if (member === undefined) throw new AppError('member_not_found')
  return member
}

async function requireAnotherOwner(tx: Db, projectId: string, userId: string): Promise<void> {
  const owners = await listOwnerIds(tx, projectId)
  if (owners.length === 1 && owners[0] === userId) throw new AppError('last_owner')
}

async function auditMember(
  ctx: Context,
  tx: Db,
  actor: Actor,
  project: { id: string; teamId: string },
  change: 'added' | 'changed' | 'removed',
  userId: string,
  role: string | null,
): Promise<void> {
  const { id: projectId, teamId } = project
  const target = { kind: 'user', id: userId }
  await recordAudit(ctx, tx, actor, {
    action: `project.member_${change}`,
    target,
    teamId,
    projectId,
    details: { role },
  })
  await enqueueEvent(ctx, tx, { topic: `member.${change}`, teamId, payload: { userId, projectId, role } })
}

function toMember(row: MemberRow): ProjectMember {
  return { userId: row.userId, username: row.username, role: row.role, createdAt: isoTime(row.createdAt) }
}

import type { ProjectPermission, ProjectRole } from '@hivesync/contracts/access.ts'
import type { Project } from '@hivesync/contracts/projects.ts'
import { lockAccount } from '../accounts/accounts.ts'
import { enqueueEvent, recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { pageRequest, toPage } from '../platform/page.ts'
import {
  findTeamOfMember,
  insertMember,
  insertProject,
  lockTeam,
  setProjectArchived,
  setProjectName,
} from './queries.ts'
import { isRoleEnough, type ProjectRow, roleIn, selectProjects } from './rights.ts'

export { hasRoleFor, visibleProjects } from './rights.ts'

export interface ProjectAccess {
  id: string
  teamId: string
  name: string
  role: ProjectRole | null
  archivedAt: number | null
}

/** The project, if the actor may do this there: `project_not_found` when it may not even be seen, `permission_denied` when the role is too small. */
export async function requireProject(
  db: Db,
  actor: Actor,
  projectId: string,
  permission: ProjectPermission,
): Promise<ProjectAccess> {
  const row = await selectProjects(db, actor).where('projects.id', '=', projectId).executeTakeFirst()
  if (row === undefined) throw new AppError('project_not_found', { projectId })
  const role = roleIn(row, actor)
  if (!isRoleEnough(role, permission) || !actor.permissions.has(permission))
    throw new AppError('permission_denied', { projectId, permission })
  return { id: row.id, teamId: row.teamId, name: row.name, role, archivedAt: row.archivedAt }
}

/** The one project that an API key is bound to, for callers that name none (the old clients). */
export function requireBoundProject(db: Db, actor: Actor, permission: ProjectPermission): Promise<ProjectAccess> {
  if (actor.projectId === null)
    throw new AppError('project_not_found', {}, { detail: 'Use an API key that is bound to a project' })
  return requireProject(db, actor, actor.projectId, permission)
}

/** The oldest project of this name that the actor made and still owns; undefined where there is none. */
export async function findOwnProject(db: Db, actor: Actor, name: string): Promise<{ id: string } | undefined> {
  const row = await selectProjects(db, actor)
    .where('projects.name', '=', name)
    .where('projects.createdBy', '=', actor.userId ?? '')
    .where('projects.archivedAt', 'is', null)
    .orderBy('projects.id')
    .limit(1)
    .executeTakeFirst()
  return row === undefined || !isRoleEnough(roleIn(row, actor), 'projects:write') ? undefined : { id: row.id }
}

/** Creates a project; its creator owns it. Without a team it belongs to the creator's personal one. */
export async function createProject(
  ctx: Context,
  actor: Actor,
  body: { name: string; teamId?: string },
): Promise<Project> {
  const { userId } = actor
  // A key bound to one project must not make others.
  if (userId === null || actor.projectId !== null) throw new AppError('permission_denied')
  return ctx.db.transaction(async (tx) => {
    if ((await lockAccount(tx, userId)) === undefined) throw new AppError('session_revoked')
    // Locked before the membership is read: whoever is taken out of the team at this moment keeps no project in it.
    const locked = await lockTeam(tx, userId, body.teamId)
    const team = locked && (await findTeamOfMember(tx, userId, locked.id))
    if (team === undefined) throw new AppError('team_not_found')
    const now = ctx.clock.now()
    const project = {
      id: ctx.random.id(),
      teamId: team.id,
      name: body.name.normalize('NFC'),
      createdBy: userId,
      createdAt: now,
      archivedAt: null,
    }
    await insertProject(tx, project)
    await insertMember(tx, { projectId: project.id, userId, role: 'owner', createdAt: now })
    await recordAudit(ctx, tx, actor, {
      action: 'project.created',
      target: { kind: 'project', id: project.id },
      teamId: team.id,
      projectId: project.id,
    })
    await enqueueEvent(ctx, tx, { topic: 'project.created', teamId: team.id, payload: { projectId: project.id } })
    return toProject({ ...project, memberRole: 'owner', teamRole: null }, actor)
  })
}

export async function listProjects(ctx: Context, actor: Actor, query: { limit?: string; cursor?: string }) {
  const request = pageRequest(query)
  let select = selectProjects(ctx.db.kysely, actor)
    .orderBy('projects.id', 'desc')
    .limit(request.limit + 1)
  if (request.after !== undefined) select = select.where('projects.id', '<', request.after)
  return toPage(
    await select.execute(),
    request,
    (row) => row.id,
    (row) => toProject(row, actor),
  )
}

export async function getProject(ctx: Context, actor: Actor, projectId: string): Promise<Project> {
  return readProject(ctx.db.kysely, actor, projectId)
}

/** Renames, archives or restores a project. An archived project takes no new jobs; archiving it twice changes nothing. */
export async function updateProject(
  ctx: Context,
  actor: Actor,
  projectId: string,
  change: { name?: string; archived?: boolean },
): Promise<Project> {
  return ctx.db.transaction(async (tx) => {
    const project = await requireProject(tx, actor, projectId, 'projects:write')
    const { name, archived } = change
    if (name !== undefined) await setProjectName(tx, projectId, name.normalize('NFC'))
    if (archived !== undefined) await setProjectArchived(tx, projectId, archived ? ctx.clock.now() : null)
    await recordAudit(ctx, tx, actor, {
      action: 'project.updated',
      target: { kind: 'project', id: projectId },
      teamId: project.teamId,
      projectId,
      details: { renamed: name !== undefined, archived: archived ?? project.archivedAt !== null },
    })
    await enqueueEvent(ctx, tx, { topic: 'project.updated', teamId: project.teamId, payload: { projectId } })
    return readProject(tx, actor, projectId)
  })
}

async function readProject(db: Db, actor: Actor, projectId: string): Promise<Project> {
  const row = await selectProjects(db, actor).where('projects.id', '=', projectId).executeTakeFirst()
  if (row === undefined) throw new AppError('project_not_found', { projectId })
  return toProject(row, actor)
}

function toProject(row: ProjectRow, actor: Actor): Project {
  return {
    id: row.id,
    name: row.name,
    teamId: row.teamId,
    role: roleIn(row, actor),
    createdAt: isoTime(row.createdAt),
    archivedAt: isoTime(row.archivedAt),
  }
}

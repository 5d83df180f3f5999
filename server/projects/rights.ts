import { type ProjectPermission, type ProjectRole, projectRoles, roleFor } from '@hivesync/contracts/access.ts'
import { type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Actor } from '../platform/actor.ts'
import type { Db } from '../platform/db/db.ts'
import type { Schema } from '../platform/db/schema.ts'

/**
 * The projects an actor may see, as a subquery for a WHERE (requirement B3): those of which the person is a member, and those of teams the person
 * owns or administers. A key bound to a project sees at most that one; an operator's key (no person) sees exactly that one.
 */
export function visibleProjects(db: Db, actor: Actor) {
  const all = db.selectFrom('projects').select('projects.id')
  const bound = actor.projectId === null ? all : all.where('projects.id', '=', actor.projectId)
  if (actor.userId === null) return actor.projectId === null ? bound.where(sql<boolean>`1 = 0`) : bound
  const userId = actor.userId
  return bound.where((eb) => eb.or([eb.exists(memberRow(eb, userId)), eb.exists(stewardRow(eb, userId))]))
}

type Builder = ExpressionBuilder<Schema, 'projects'>

/** Team roles that own every project of the team. */
const stewards = ['owner', 'admin'] as const

function memberRow(eb: Builder, userId: string) {
  return eb
    .selectFrom('projectMembers')
    .select('projectMembers.userId')
    .whereRef('projectMembers.projectId', '=', 'projects.id')
    .where('projectMembers.userId', '=', userId)
}

function stewardRow(eb: Builder, userId: string) {
  return eb
    .selectFrom('teamMembers')
    .select('teamMembers.userId')
    .whereRef('teamMembers.teamId', '=', 'projects.teamId')
    .where('teamMembers.userId', '=', userId)
    .where('teamMembers.role', 'in', stewards)
}

/**
 * Whether the person in one column has a role that suffices for this in the project in another, for questions about many at once: the rule of
 * `requireProject`, save for what the credentials allow and whether the account is active. The columns are SQL, never anybody's words.
 */
export function hasRoleFor(
  permission: ProjectPermission,
  userColumn: string,
  projectColumn: string,
): RawBuilder<SqlBool> {
  const roles = projectRoles.filter((role) => isRoleEnough(role, permission))
  return sql.raw(`(exists (select 1 from project_members where project_members.project_id = ${projectColumn}
      and project_members.user_id = ${userColumn} and project_members.role in (${quoted(roles)}))
    or exists (select 1 from team_members where team_members.user_id = ${userColumn} and team_members.role in (${quoted(stewards)})
      and team_members.team_id = (select projects.team_id from projects where projects.id = ${projectColumn})))`)
}

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(', ')

export interface ProjectRow {
  id: string
  teamId: string
  name: string
  createdAt: number
  archivedAt: number | null
  memberRole: ProjectRole | null
  teamRole: string | null
}

/** The projects an actor may see, each with the roles that count there. */
export function selectProjects(db: Db, actor: Actor) {
  return db
    .selectFrom('projects')
    .select(['projects.id', 'projects.teamId', 'projects.name', 'projects.createdAt', 'projects.archivedAt'])
    .select((eb) => [
      eb
        .selectFrom('projectMembers')
        .select('projectMembers.role')
        .whereRef('projectMembers.projectId', '=', 'projects.id')
        .where('projectMembers.userId', '=', actor.userId ?? '')
        .as('memberRole'),
      eb
        .selectFrom('teamMembers')
        .select('teamMembers.role')
        .whereRef('teamMembers.teamId', '=', 'projects.teamId')
        .where('teamMembers.userId', '=', actor.userId ?? '')
        .as('teamRole'),
    ])
    .where('projects.id', 'in', visibleProjects(db, actor))
}

/** The role that counts: a team's owners and admins own its projects; an operator's key edits the one it is bound to. */
export function roleIn(row: Pick<ProjectRow, 'memberRole' | 'teamRole'>, actor: Actor): ProjectRole | null {
  if (actor.userId === null) return actor.kind === 'key' ? 'editor' : null
  if (stewards.some((role) => role === row.teamRole)) return 'owner'
  return row.memberRole
}

export function isRoleEnough(role: ProjectRole | null, permission: ProjectPermission): boolean {
  return role !== null && projectRoles.indexOf(role) >= projectRoles.indexOf(roleFor[permission])
}

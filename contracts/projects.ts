import { type Static, Type } from 'typebox'
import { projectRoles } from './access.ts'
import { endpoint } from './endpoint.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

export const ProjectRole = Type.Enum([...projectRoles])
export const Project = object({
  id: Id,
  name: Type.String(),
  teamId: Id,
  role: nullable(ProjectRole),
  createdAt: Time,
  archivedAt: nullable(Time),
})
export type Project = Static<typeof Project>
export const ProjectMember = object({ userId: Id, username: Type.String(), role: ProjectRole, createdAt: Time })
export type ProjectMember = Static<typeof ProjectMember>

const projectParams = object({ projectId: Id })
const memberParams = object({ projectId: Id, userId: Id })

export const createProject = endpoint({
  name: 'createProject',
  summary: 'Create a project in the personal team, or in a team one belongs to; the creator owns it',
  method: 'POST',
  path: '/api/v1/projects',
  access: 'projects:write',
  limit: 'write',
  body: object({ name: Name, teamId: Type.Optional(Id) }),
  status: 201,
  reply: Project,
  errors: ['team_not_found'],
})

export const listProjects = endpoint({
  name: 'listProjects',
  summary: 'The projects the actor may read, newest first',
  method: 'GET',
  path: '/api/v1/projects',
  access: 'projects:read',
  limit: 'read',
  query: object(PageQuery),
  status: 200,
  reply: page(Project),
  errors: [],
})

export const getProject = endpoint({
  name: 'getProject',
  summary: 'One project',
  method: 'GET',
  path: '/api/v1/projects/:projectId',
  access: 'projects:read',
  limit: 'read',
  params: projectParams,
  status: 200,
  reply: Project,
  errors: ['project_not_found'],
})

export const updateProject = endpoint({
  name: 'updateProject',
  summary: 'Rename, archive or restore a project; owners only',
  method: 'PATCH',
  path: '/api/v1/projects/:projectId',
  access: 'projects:write',
  limit: 'write',
  params: projectParams,
  body: object({ name: Type.Optional(Name), archived: Type.Optional(Type.Boolean()) }),
  status: 200,
  reply: Project,
  errors: ['project_not_found', 'permission_denied'],
})

export const listProjectMembers = endpoint({
  name: 'listProjectMembers',
  summary: 'The members of a project',
  method: 'GET',
  path: '/api/v1/projects/:projectId/members',
  access: 'projects:read',
  limit: 'read',
  params: projectParams,
  query: object(PageQuery),
  status: 200,
  reply: page(ProjectMember),
  errors: ['project_not_found'],
})

export const addProjectMember = endpoint({
  name: 'addProjectMember',
  summary: 'Give a person a role in a project; owners only',
  method: 'POST',
  path: '/api/v1/projects/:projectId/members',
  access: 'projects:write',
  limit: 'write',
  params: projectParams,
  body: object({ username: Type.String({ minLength: 3, maxLength: 50 }), role: ProjectRole }),
  status: 201,
  reply: ProjectMember,
  errors: ['project_not_found', 'permission_denied', 'user_not_found', 'member_exists'],
})

export const changeProjectMember = endpoint({
  name: 'changeProjectMember',
  summary: "Change a member's role; owners only, and never the last owner's",
  method: 'PATCH',
  path: '/api/v1/projects/:projectId/members/:userId',
  access: 'projects:write',
  limit: 'write',
  params: memberParams,
  body: object({ role: ProjectRole }),
  status: 200,
  reply: ProjectMember,
  errors: ['project_not_found', 'permission_denied', 'member_not_found', 'last_owner'],
})

export const removeProjectMember = endpoint({
  name: 'removeProjectMember',
  summary: 'Take a member out of a project; owners only, or oneself',
  method: 'DELETE',
  path: '/api/v1/projects/:projectId/members/:userId',
  access: 'projects:write',
  limit: 'write',
  params: memberParams,
  status: 204,
  reply: null,
  errors: ['project_not_found', 'permission_denied', 'member_not_found', 'last_owner'],
})

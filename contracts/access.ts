/** What an actor may be allowed to do, by noun. A session holds all of a person's permissions; an API key holds those of its scopes. */
export const permissions = [
  'account:read',
  'teams:read',
  'teams:write',
  'projects:read',
  'projects:write',
  'jobs:read',
  'jobs:write',
  'search:read',
  'workers:read',
  'workers:write',
  'webhooks:read',
  'webhooks:write',
  'ingest:read',
  'ingest:write',
] as const
export type Permission = (typeof permissions)[number]

/**
 * Who may call an operation.
 * `public`: anybody. `session`: a person's signed-in session, never an API key. `admin`: a system admin's session, or an
 * admin's API key with the scope `admin`. `metrics`: the same, or an admin's API key with the scope `metrics`, which can do nothing else. `worker`: a request signed by an enrolled worker. A permission: a session, or an API key whose scopes
 * grant it; rights over the particular project are then decided in SQL.
 */
export type Access = 'public' | 'session' | 'admin' | 'metrics' | 'worker' | Permission

const bundles = {
  read: permissions.filter((permission) => permission.endsWith(':read')),
  write: permissions,
  admin: permissions,
  ingest: ['ingest:read', 'ingest:write'],
  /** What a monitor reads is the whole's, not a project's: no permission gives it. */
  metrics: [],
} as const satisfies Record<string, readonly Permission[]>

export const scopes = [...permissions, 'read', 'write', 'admin', 'ingest', 'metrics'] as const
export type Scope = (typeof scopes)[number]

/** The permissions that a set of scopes grants. */
export function grantedBy(granted: readonly Scope[]): Set<Permission> {
  const result = new Set<Permission>()
  for (const scope of granted) {
    const bundle: readonly Permission[] =
      scope in bundles ? bundles[scope as keyof typeof bundles] : [scope as Permission]
    for (const permission of bundle) result.add(permission)
  }
  return result
}

export const projectRoles = ['viewer', 'editor', 'owner'] as const
export type ProjectRole = (typeof projectRoles)[number]
export const teamRoles = ['member', 'admin', 'owner'] as const
export type TeamRole = (typeof teamRoles)[number]

/** The smallest project role that each project-bound permission needs (requirement B2). */
export const roleFor = {
  'projects:read': 'viewer',
  'projects:write': 'owner',
  'jobs:read': 'viewer',
  'jobs:write': 'editor',
  'search:read': 'viewer',
  'ingest:read': 'viewer',
  'ingest:write': 'editor',
} as const satisfies Partial<Record<Permission, ProjectRole>>
export type ProjectPermission = keyof typeof roleFor

/** The smallest team role for each thing that is done to a team (requirement B2). Nobody gives or takes a role above their own. */
export const teamRoleFor = {
  read: 'member',
  createProjects: 'member',
  ownProjects: 'admin',
  rename: 'admin',
  manageMembers: 'admin',
  manageWebhooks: 'admin',
  readAudit: 'owner',
  transfer: 'owner',
  delete: 'owner',
} as const satisfies Record<string, TeamRole>
export type TeamAction = keyof typeof teamRoleFor

export function isTeamRoleEnough(role: TeamRole, least: TeamRole): boolean {
  return teamRoles.indexOf(role) >= teamRoles.indexOf(least)
}

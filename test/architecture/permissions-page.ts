// Writes docs/permissions.md from the contracts: `node test/architecture/permissions-page.ts > docs/permissions.md`. A test holds the page to it.
import {
  grantedBy,
  isTeamRoleEnough,
  permissions,
  projectRoles,
  roleFor,
  scopes,
  type TeamAction,
  teamRoleFor,
  teamRoles,
} from '@hivesync/contracts/access.ts'
import { operations } from '@hivesync/contracts/operations.ts'

const teamActions: Record<TeamAction, string> = {
  read: 'see the team and its members',
  createProjects: 'create projects in it, and own those',
  ownProjects: 'own every project of it',
  rename: 'rename it',
  manageMembers: 'invite, change and remove members, up to the own role',
  manageWebhooks: 'see and manage its webhooks',
  readAudit: 'read its audit log',
  transfer: 'hand it over',
  delete: 'delete it, when it has no projects',
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')
const mark = (holds: boolean) => (holds ? 'yes' : '')

function projectTable(): string {
  const rows = Object.entries(roleFor).map(([permission, least]) => [
    `\`${permission}\``,
    ...projectRoles.map((role) => mark(projectRoles.indexOf(role) >= projectRoles.indexOf(least))),
  ])
  return table(['permission', ...projectRoles], rows)
}

function teamTable(): string {
  const rows = Object.entries(teamActions).map(([action, text]) => [
    text,
    ...teamRoles.map((role) => mark(isTeamRoleEnough(role, teamRoleFor[action as TeamAction]))),
  ])
  return table(['may', ...teamRoles], rows)
}

function scopeTable(): string {
  const bundles = scopes.filter((scope) => !(permissions as readonly string[]).includes(scope))
  const rows = permissions.map((permission) => [
    `\`${permission}\``,
    ...bundles.map((scope) => mark(grantedBy([scope]).has(permission))),
  ])
  return table(['permission', ...bundles.map((scope) => `\`${scope}\``)], rows)
}

function operationTable(): string {
  const rows = [...operations.values()].map(({ name, method, path, access, stepUp }) => [
    `\`${name}\``,
    `${method} ${path}`,
    access,
    mark(stepUp === true),
  ])
  return table(['operation', 'request', 'access', 'fresh proof'], rows)
}

export function permissionsPage(): string {
  return `# Who may do what

Made from \`contracts/\`, which the server enforces: \`node test/architecture/permissions-page.ts > docs/permissions.md\`.

A person holds every permission below and is then judged by role, in the SQL of each query: what one may not see does not exist (404), what
one may see but not do is refused (403). An API key holds the permissions of its scopes, never more than its owner has at that moment, and
where it is bound to one project, there alone. Roles are looked up at each request; nothing is trusted from a token.

## Roles in a project

Who is no member sees nothing of it, except the team's admins and owners, who own it.

${projectTable()}

## Roles in a team

${teamTable()}

Everybody owns a personal team, alone. The last owner of a team and the last admin of the server stay.

## Scopes of an API key

A scope is one of the permissions, or a bundle of them. \`admin\` also lets the key of an admin do what admins do, except where a fresh proof is
needed: no key can ever give one.

${scopeTable()}

## Operations

\`public\`: anybody. \`session\`: a signed-in person, never a key. \`admin\`: a system admin, or an admin's key with the scope \`admin\`. \`worker\`: a signed
request of an enrolled worker. Otherwise the permission. A fresh proof is of the password, or of a second factor where there is one, bound to the session, the
operation, its parameters and its body, good once within five minutes.

${operationTable()}
`
}

if (import.meta.main) process.stdout.write(permissionsPage())

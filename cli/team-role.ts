import { teamRoles } from '@hivesync/contracts/access.ts'
import { usageError } from './failure.ts'

/** A team role as typed. */
export function readTeamRole(text: string): (typeof teamRoles)[number] {
  const role = teamRoles.find((candidate) => candidate === text)
  if (role === undefined) throw usageError(`A role is one of: ${teamRoles.join(', ')}`)
  return role
}

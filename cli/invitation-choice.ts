import { type Invitation, listInvitations, type Team } from '@hivesync/contracts/teams.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError } from './failure.ts'

/** The open invitations to a team. */
export async function listOpenInvitations(client: Client, team: Team): Promise<Invitation[]> {
  const params = { teamId: team.id }
  const list = await listAll((cursor) => client.call(listInvitations, { params, query: { limit: '200', cursor } }))
  return list.items
}

/** The open invitation with that id, or to that address: there is one at most. */
export async function requireInvitation(client: Client, team: Team, named: string): Promise<Invitation> {
  const items = await listOpenInvitations(client, team)
  const found = items.find(({ id, email }) => id === named || email.toLowerCase() === named.toLowerCase())
  if (found !== undefined) return found
  const message = `There is no open invitation of ${named} to ${team.name}`
  throw new CliError('invitation_not_found', 'notFound', message, `See: hivesync team invitations ${team.id}`)
}

import { listTeamMembers, listTeams, type Team, type TeamMember } from '@hivesync/contracts/teams.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'

/** The team with that id, or the one team with that name, among those one belongs to. */
export async function requireTeam(client: Client, named: string): Promise<Team> {
  const { items } = await listAll((cursor) => client.call(listTeams, { query: { limit: '200', cursor } }))
  const byId = items.find(({ id }) => id === named)
  if (byId !== undefined) return byId
  const matches = items.filter(({ name }) => name === named)
  const [first] = matches
  if (first === undefined) {
    throw new CliError('team_not_found', 'notFound', `There is no team ${named}`, 'See: hivesync team ls')
  }
  if (matches.length === 1) return first
  throw usageError(
    `${matches.length} teams are called ${named}`,
    `Use an id: ${matches.map(({ id }) => id).join(', ')}`,
  )
}

/** Everybody in the team. */
export async function listMembers(client: Client, team: Team): Promise<TeamMember[]> {
  const params = { teamId: team.id }
  const list = await listAll((cursor) => client.call(listTeamMembers, { params, query: { limit: '200', cursor } }))
  return list.items
}

/** The member with that user name or id. */
export async function requireMember(client: Client, team: Team, named: string): Promise<TeamMember> {
  const found = (await listMembers(client, team)).find(
    ({ userId, username }) => userId === named || username.toLowerCase() === named.toLowerCase(),
  )
  if (found !== undefined) return found
  const message = `There is no ${named} in ${team.name}`
  throw new CliError('member_not_found', 'notFound', message, `See: hivesync team members ${team.id}`)
}

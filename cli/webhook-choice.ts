import type { Team } from '@hivesync/contracts/teams.ts'
import { listTeams } from '@hivesync/contracts/teams.ts'
import { listWebhooks, type Webhook } from '@hivesync/contracts/webhooks.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'
import { requireTeam } from './team-choice.ts'

export const teamOption = {
  type: 'string',
  short: 't',
  value: 'TEAM',
  summary: 'name or id; your personal team unless given',
} as const

/** The team that was named, or the personal one. */
export async function chooseTeam(client: Client, named: string | undefined): Promise<Team> {
  if (named !== undefined) return requireTeam(client, named)
  const { items } = await listAll((cursor) => client.call(listTeams, { query: { limit: '200', cursor } }))
  const personal = items.find(({ isPersonal }) => isPersonal)
  if (personal === undefined) throw usageError('Whose webhooks?', 'Say --team TEAM; see: hivesync team ls')
  return personal
}

export async function allWebhooks(client: Client, teamId: string): Promise<Webhook[]> {
  const params = { teamId }
  const list = await listAll((cursor) => client.call(listWebhooks, { params, query: { limit: '200', cursor } }))
  return list.items
}

/** The webhook of the team with that id or address, as operations name it. */
export async function requireWebhook(
  client: Client,
  team: string | undefined,
  named: string,
): Promise<{ webhook: Webhook; params: { teamId: string; webhookId: string } }> {
  const { id: teamId, name } = await chooseTeam(client, team)
  const items = await allWebhooks(client, teamId)
  const byId = items.find(({ id }) => id === named)
  const [first, ...others] = byId === undefined ? items.filter(({ url }) => url === named) : [byId]
  if (first === undefined)
    throw new CliError(
      'webhook_not_found',
      'notFound',
      `There is no webhook ${named} in ${name}`,
      'See: hivesync webhook ls',
    )
  if (others.length > 0) throw usageError(`${others.length + 1} webhooks have this address`, 'Use an id')
  return { webhook: first, params: { teamId, webhookId: first.id } }
}

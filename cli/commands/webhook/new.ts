import { webhookFilters } from '@hivesync/contracts/webhook-events.ts'
import { createWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { findNearest } from '../../nearest.ts'
import { chooseTeam, teamOption } from '../../webhook-choice.ts'

export const create = defineCommand({
  name: 'webhook new',
  summary: 'tell an address of a team’s events; its admins and owners',
  usage: 'URL --event EVENT',
  notes: [
    'Prints the secret alone on standard output, this once: it goes to whoever verifies the signatures.',
    `Events: ${webhookFilters.join(', ')}.`,
  ],
  options: {
    event: { type: 'string', multiple: true, short: 'e', value: 'EVENT', summary: 'to tell of; may be repeated' },
    description: { type: 'string', value: 'TEXT', summary: 'what it is for' },
    team: teamOption,
  },
  arguments: [1, 1],
  async run(context) {
    const { description, event, team } = context.options
    const events = event.map(readFilter)
    if (events.length === 0) throw usageError('Of what?', "Say --event 'job.*', or another event")
    const { client } = await connect(context)
    const { id: teamId } = await chooseTeam(client, team)
    const body = { url: context.arguments[0] ?? '', events, description }
    const webhook = await client.call(createWebhook, { params: { teamId }, body })
    await context.terminal.note(
      `Webhook ${webhook.id}, public key ${webhook.publicKey}. Its secret is shown this once:`,
    )
    return { json: webhook, lines: [webhook.secret] }
  },
})

function readFilter(text: string): string {
  if (webhookFilters.includes(text)) return text
  const nearest = findNearest(text, webhookFilters)
  throw usageError(
    `There is no event ${text}`,
    nearest === undefined ? `Events: ${webhookFilters.join(', ')}` : `Did you mean ${nearest}?`,
  )
}

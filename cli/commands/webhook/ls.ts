import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { allWebhooks, chooseTeam, teamOption } from '../../webhook-choice.ts'

export const ls = defineCommand({
  name: 'webhook ls',
  summary: 'the addresses that are told of a team’s events, and whether they listen',
  usage: '',
  options: { team: teamOption },
  async run(context) {
    const { client } = await connect(context)
    const team = await chooseTeam(client, context.options.team)
    const items = await allWebhooks(client, team.id)
    const rows = items.map(({ id, state, failures, events, url }) => [
      id,
      state,
      String(failures),
      events.join(' '),
      url,
    ])
    if (rows.length === 0) await context.terminal.note(`No webhooks in ${team.name}.`)
    const headings = ['ID', 'STATE', 'FAILURES', 'EVENTS', 'ADDRESS']
    return {
      json: { items },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, context.terminal.columns('stdout')),
    }
  },
})

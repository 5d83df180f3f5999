import { type AuditEvent, listAudit } from '@hivesync/contracts/audit.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { tableLines } from '../../table.ts'
import { requireTeam } from '../../team-choice.ts'
import { parseCount } from '../../units.ts'

export const tail = defineCommand({
  name: 'audit tail',
  summary: 'the newest events of the audit log',
  usage: '',
  notes: ['All of it for admins; owners of a team name it with --team and read what was done in it.'],
  options: {
    team: { type: 'string', value: 'TEAM', summary: 'only this team' },
    actor: { type: 'string', value: 'ID', summary: 'only what this person, key or worker did' },
    action: { type: 'string', value: 'ACTION', summary: 'only these, such as session.started' },
    target: { type: 'string', value: 'ID', summary: 'only what was done to this' },
    refused: { type: 'boolean', summary: 'only what was refused' },
    since: { type: 'string', value: 'TIME', summary: 'from this time on, such as 2026-11-21T08:00:00Z' },
    limit: { type: 'string', short: 'n', value: 'N', summary: 'at most so many; 20 unless given' },
  },
  async run(context) {
    const { options, terminal } = context
    const limit = parseCount(options.limit ?? '20', '--limit', { min: 1, max: 100_000 })
    const since = options.since === undefined ? undefined : timeOf(options.since)
    const { client } = await connect(context)
    const teamId = options.team === undefined ? undefined : (await requireTeam(client, options.team)).id
    const { actor, action, target } = options
    const outcome = options.refused ? ('refused' as const) : undefined
    const query = { teamId, actor, action, target, outcome, since, limit: String(Math.min(limit, 200)) }
    const { items, nextCursor } = await listAll(
      (cursor) => client.call(listAudit, { query: { ...query, cursor } }),
      limit,
    )
    if (items.length === 0) await terminal.note('Nothing.')
    if (nextCursor !== null) await terminal.note('There are more: say --limit N')
    const headings = ['AT', 'ACTION', 'OUTCOME', 'ACTOR', 'TARGET', 'DETAILS']
    // The newest last, as a log reads.
    const lines =
      items.length === 0 ? [] : tableLines(headings, items.map(toRow).toReversed(), terminal.columns('stdout'))
    return { json: { items, nextCursor }, lines }
  },
})

function toRow({ at, action, outcome, actor, target, details }: AuditEvent) {
  return [
    at,
    action,
    outcome === 'refused' ? { style: 'yellow' as const, text: outcome } : '',
    actor.id === null ? actor.kind : `${actor.kind} ${actor.id}`,
    target === null ? '' : `${target.kind} ${target.id}`,
    Object.entries(details)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
  ]
}

function timeOf(text: string): string {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw usageError('--since takes a time such as 2026-11-21T08:00:00Z')
  return new Date(ms).toISOString()
}

import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { bold } from '../../terminal.ts'
import { formatAge, parseSeconds } from '../../units.ts'

export const enrol = defineCommand({
  name: 'worker enrol',
  summary: 'make a one-time token with which one machine may become a worker; admins only',
  usage: '[NAME]',
  notes: ['Prints the token and the one command to type on that machine. The token works once and is shown once.'],
  options: {
    team: { type: 'string', value: 'TEAM-ID', summary: 'for this team’s jobs only; shared by all unless given' },
    ttl: { type: 'string', value: 'TIME', summary: 'how long the token works: 1m to 1d' },
  },
  arguments: [0, 1],
  async run(context) {
    const { options, machine } = context
    const { client, server } = await connect(context)
    const [name] = context.arguments
    const enrolment = await client.call(createEnrolment, {
      body: {
        name,
        teamId: options.team,
        ttlSeconds: options.ttl === undefined ? undefined : parseSeconds(options.ttl, '--ttl'),
      },
    })
    const { enrolmentToken, expiresAt } = enrolment
    const variables = { SERVER: server, TOKEN: enrolmentToken, ...(name === undefined ? {} : { NAME: name }) }
    const settings = Object.entries(variables).map(([key, value]) => `HIVESYNC_WORKER_${key}=${shellWord(value)}`)
    // A leading space keeps the token out of the history of most shells.
    const command = ` ${settings.join(' ')} npx hivesync worker start`
    return {
      json: { ...enrolment, server, command: command.trim() },
      lines: [
        ['Token: ', bold(enrolmentToken), `  (works once, until ${expiresAt}, ${formatAge(expiresAt, machine.now())})`],
        '',
        'On the machine that is to be a worker:',
        '',
        command,
        '',
        'Later starts there need only HIVESYNC_WORKER_SERVER: the identity is kept in its data folder.',
      ],
    }
  },
})

function shellWord(text: string): string {
  return /^[A-Za-z0-9_.:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

import { createEnrolment, maxEnrolmentUses } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { bold } from '../../terminal.ts'
import { formatAge, parseCount, parseSeconds } from '../../units.ts'

export const enrol = defineCommand({
  name: 'worker enrol',
  summary: 'make a token with which one machine, or a fleet of them, may become workers; admins only',
  usage: '[NAME]',
  notes: [
    'Prints the token and the one command to type on that machine. The token works once and is shown once.',
    'For a fleet: --uses, and --ephemeral for machines that come and go: they sign off when they end, and one that is silent',
    'for 15 minutes is retired. The workers of a fleet take the jobs of its pool only. See: hivesync worker enrolments',
  ],
  options: {
    team: { type: 'string', value: 'TEAM-ID', summary: 'for this team’s jobs only; shared by all unless given' },
    ttl: { type: 'string', value: 'TIME', summary: 'how long the token works: 1m to 1d, with --uses to 90d' },
    uses: { type: 'string', value: 'N', summary: `how many machines may use it: 1 to ${maxEnrolmentUses}` },
    pool: { type: 'string', value: 'POOL', summary: 'the pool they are bound to; for a fleet default unless given' },
    ephemeral: { type: 'boolean', summary: 'they come and go' },
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
        maxUses:
          options.uses === undefined
            ? undefined
            : parseCount(options.uses, '--uses', { min: 1, max: maxEnrolmentUses }),
        pool: options.pool,
        ephemeral: options.ephemeral,
      },
    })
    const { enrolmentToken, expiresAt } = enrolment
    // What the token says of name and pool counts anyway; those of a fleet are numbered.
    const isFleet = options.uses !== undefined && options.uses !== '1'
    const ownName = name === undefined || isFleet ? {} : { NAME: name }
    const variables = { SERVER: server, TOKEN: enrolmentToken, ...ownName }
    const settings = Object.entries(variables).map(([key, value]) => `HIVESYNC_WORKER_${key}=${shellWord(value)}`)
    // A leading space keeps the token out of the history of most shells.
    const command = ` ${settings.join(' ')} npx hivesync worker start`
    return {
      json: { ...enrolment, server, command: command.trim() },
      lines: [
        [
          'Token: ',
          bold(enrolmentToken),
          `  (works ${isFleet ? `${options.uses} times` : 'once'}, until ${expiresAt}, ${formatAge(expiresAt, machine.now())})`,
        ],
        '',
        isFleet ? 'On each machine that is to be a worker:' : 'On the machine that is to be a worker:',
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

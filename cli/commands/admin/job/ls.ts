import { type JobState, jobStates } from '@hivesync/contracts/jobs.ts'
import { listAllJobs } from '@hivesync/contracts/oversight.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { usageError } from '../../../failure.ts'
import { tableLines } from '../../../table.ts'
import { formatAge } from '../../../units.ts'

export const listEveryJob = defineCommand({
  name: 'admin job ls',
  summary: 'the latest 200 jobs of this server, whosever they are',
  usage: '',
  notes: ['What is known of one, and what may be done to it: hivesync job get, why, logs, cancel, with its id.'],
  options: {
    state: { type: 'string', value: 'STATE', summary: `only those that are ${jobStates.join(', ')}` },
    team: { type: 'string', value: 'ID', summary: 'only those of a team' },
  },
  async run({ options, machine, terminal, ...context }) {
    const query = {
      limit: '200',
      ...(options.state !== undefined && { state: requireState(options.state) }),
      ...(options.team !== undefined && { teamId: options.team }),
    }
    const { client } = await connect({ machine, terminal, ...context })
    const found = await client.call(listAllJobs, { query })
    if (found.nextCursor !== null) await terminal.note('There are more: say --state or --team.')
    const rows = found.items.map((job) => [
      job.id,
      job.kind,
      job.state,
      formatAge(job.submittedAt, machine.now()),
      job.subject,
    ])
    return {
      json: found,
      lines: tableLines(['ID', 'KIND', 'STATE', 'SUBMITTED', 'ABOUT'], rows, terminal.columns('stdout')),
    }
  },
})

function requireState(name: string): JobState {
  const state = jobStates.find((known) => known === name)
  if (state === undefined) throw usageError(`${name} is no state of a job: ${jobStates.join(', ')}`)
  return state
}

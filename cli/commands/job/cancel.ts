import { type CancelFilter, cancelJobs } from '@hivesync/contracts/bulk.ts'
import { cancelJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { type Connection, connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { inBatches } from '../../in-batches.ts'
import { requireKind } from '../../job-kind.ts'
import { projectOption, requireProject } from '../../project-choice.ts'

const states = ['queued', 'leased', 'running'] as const

export const cancel = defineCommand({
  name: 'job cancel',
  summary:
    'cancel a job, or with --all every job of a project that has not ended; a running one ends at its worker’s next heartbeat',
  usage: 'JOB-ID | --all',
  options: {
    all: { type: 'boolean', summary: 'every job of the project; narrowed by what follows' },
    state: { type: 'string', short: 's', value: 'STATE', summary: states.join(', ') },
    kind: { type: 'string', short: 'k', value: 'KIND', summary: 'ingest or compute' },
    label: { type: 'string', multiple: true, value: 'LABEL', summary: 'jobs that ask for this label' },
    before: { type: 'string', value: 'TIME', summary: 'submitted before this time, ISO 8601' },
    project: projectOption,
  },
  arguments: [0, 1],
  async run(context) {
    const { options } = context
    const [jobId] = context.arguments
    if ((jobId === undefined) !== options.all) throw usageError('Say either a job’s id, or --all')
    const state = states.find((known) => known === options.state)
    if (options.state !== undefined && state === undefined) throw usageError(`--state is one of: ${states.join(', ')}`)
    const filter: CancelFilter = {
      state,
      kind: options.kind === undefined ? undefined : requireKind(options.kind),
      labels: options.label.length === 0 ? undefined : [...options.label],
      submittedBefore: options.before,
    }
    const connection = await connect(context)
    if (jobId === undefined) return cancelAll(connection, options.project, filter)
    if (Object.values(filter).some((value) => value !== undefined)) throw usageError('What narrows goes with --all')
    const job = await connection.client.call(cancelJob, { params: { jobId } })
    const line = job.state === 'canceled' ? `Canceled job ${job.id}.` : `Job ${job.id} is asked to stop.`
    return { json: job, lines: [line] }
  },
})

async function cancelAll(connection: Connection, named: string | undefined, filter: CancelFilter) {
  const project = await requireProject(connection, named)
  const params = { projectId: project.id }
  const total = { canceled: 0, asked: 0 }
  const { refused, remaining } = await inBatches(async (limit) => {
    const reply = await connection.client.call(cancelJobs, { params, body: { filter, limit } })
    total.canceled += reply.canceled
    total.asked += reply.asked
    return { ...reply, done: reply.canceled + reply.asked }
  })
  const lines = [`Canceled ${total.canceled} of ${project.name}; ${total.asked} more are asked to stop.`]
  return { json: { ...total, refused, remaining }, lines }
}

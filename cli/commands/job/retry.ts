import { type RetryFilter, retryJobs } from '@hivesync/contracts/bulk.ts'
import { retryJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { type Connection, connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { inBatches } from '../../in-batches.ts'
import { requireKind } from '../../job-kind.ts'
import { projectOption, requireProject } from '../../project-choice.ts'

export const retry = defineCommand({
  name: 'job retry',
  summary: 'queue an ended job again, with a fresh budget of attempts; or all of a project that failed',
  usage: 'JOB-ID | --failed | --skipped | --canceled',
  options: {
    failed: { type: 'boolean', summary: 'every failed job of the project; narrowed by what follows' },
    skipped: { type: 'boolean', summary: 'every skipped one' },
    canceled: { type: 'boolean', summary: 'every canceled one' },
    kind: { type: 'string', short: 'k', value: 'KIND', summary: 'ingest or compute' },
    error: { type: 'string', value: 'CODE', summary: 'that failed with this code' },
    after: { type: 'string', value: 'TIME', summary: 'that ended after this time, ISO 8601' },
    before: { type: 'string', value: 'TIME', summary: 'that ended before this time; now unless given' },
    project: projectOption,
  },
  arguments: [0, 1],
  async run(context) {
    const { options } = context
    const [jobId] = context.arguments
    const chosen = (['failed', 'skipped', 'canceled'] as const).filter((state) => options[state])
    if (chosen.length + context.arguments.length !== 1)
      throw usageError('Say either a job’s id, or one of --failed, --skipped and --canceled')
    const { after, before, error } = options
    const narrows = [options.kind, error, after, before].some((value) => value !== undefined)
    if (jobId !== undefined && narrows) throw usageError('What narrows goes with --failed, --skipped or --canceled')
    const kind = options.kind === undefined ? undefined : requireKind(options.kind)
    const connection = await connect(context)
    if (jobId !== undefined) {
      const job = await connection.client.call(retryJob, { params: { jobId } })
      return { json: job, lines: [`Queued job ${job.id} again. Watch it: hivesync job watch ${job.id}`] }
    }
    // What fails anew meanwhile is not tried again and again.
    const finishedBefore = before ?? new Date(context.machine.now()).toISOString()
    return retryAll(connection, options.project, {
      state: chosen[0],
      kind,
      errorCode: error,
      finishedAfter: after,
      finishedBefore,
    })
  },
})

async function retryAll(connection: Connection, named: string | undefined, filter: RetryFilter) {
  const project = await requireProject(connection, named)
  let retried = 0
  const { refused, remaining } = await inBatches(async (limit) => {
    const reply = await connection.client.call(retryJobs, {
      params: { projectId: project.id },
      body: { filter, limit },
    })
    retried += reply.retried
    return { ...reply, done: reply.retried }
  })
  const isFull = refused.some(({ code }) => code === 'queue_full')
  const why = isFull ? ' The queue is full: say it again when it has drained.' : ''
  return {
    json: { retried, refused, remaining },
    lines: [`Queued ${retried} of ${project.name} again; ${remaining} are left.${why}`],
  }
}

import { retryJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const retry = defineCommand({
  name: 'job retry',
  summary: 'queue an ended job again, with a fresh budget of attempts',
  usage: 'JOB-ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const job = await client.call(retryJob, { params: { jobId } })
    return { json: job, lines: [`Queued job ${job.id} again. Watch it: hivesync job watch ${job.id}`] }
  },
})

import { getJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { jobLines } from '../../job-lines.ts'

export const get = defineCommand({
  name: 'job get',
  summary: 'everything about one job',
  usage: 'JOB-ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const job = await client.call(getJob, { params: { jobId } })
    return { json: job, lines: jobLines(job, context.machine.now()) }
  },
})

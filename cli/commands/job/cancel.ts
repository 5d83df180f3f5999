import { cancelJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const cancel = defineCommand({
  name: 'job cancel',
  summary: 'cancel a job; a running one ends at its worker’s next heartbeat',
  usage: 'JOB-ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const job = await client.call(cancelJob, { params: { jobId } })
    const line = job.state === 'canceled' ? `Canceled job ${job.id}.` : `Job ${job.id} is asked to stop.`
    return { json: job, lines: [line] }
  },
})

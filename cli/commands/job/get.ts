import { getJob, listAttempts } from '@hivesync/contracts/jobs.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { jobLines } from '../../job-lines.ts'
import { receiptLines } from '../../receipt-lines.ts'

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
    const lines = jobLines(job, context.machine.now())
    if (context.terminal.json) return { json: job, lines }
    const { items } = await listAll((cursor) =>
      client.call(listAttempts, { params: { jobId }, query: { limit: '200', cursor } }),
    )
    const last = items.at(-1)
    return { json: job, lines: [...lines, ...(last === undefined ? [] : receiptLines(last))] }
  },
})

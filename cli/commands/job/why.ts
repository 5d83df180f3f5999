import { getJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { stateCell, whyLines } from '../../job-lines.ts'

export const why = defineCommand({
  name: 'job why',
  summary: 'why a job waits, or how it came to its end, and what would help',
  usage: 'JOB-ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const {
      id,
      state,
      waitingFor = null,
      error,
      skipReason,
      ...rest
    } = await client.call(getJob, { params: { jobId } })
    const reasons = whyLines({ id, state, error, skipReason, ...rest, ...(waitingFor === null ? {} : { waitingFor }) })
    return { json: { id, state, waitingFor, error, skipReason }, lines: [['  ', stateCell(state)], ...reasons] }
  },
})

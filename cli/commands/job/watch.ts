import { getJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { cancelOnInterruptOption, followedExitCode, followJob, interruptNote } from '../../follow-job.ts'
import { isFinal, jobLines } from '../../job-lines.ts'
import { createJobProgress } from '../../job-progress.ts'

export const watch = defineCommand({
  name: 'job watch',
  summary: 'follow a job to its end; ends with 1 when it does not succeed',
  usage: 'JOB-ID',
  notes: ['Shows phases and progress; the output of the command is at: hivesync job logs -f JOB-ID', interruptNote],
  options: { 'cancel-on-interrupt': cancelOnInterruptOption },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal, machine } = context
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const found = await client.call(getJob, { params: { jobId } })
    const progress = createJobProgress(terminal, machine)
    const cancelOnInterrupt = options['cancel-on-interrupt']
    if (!isFinal(found.state)) await progress.start(found)
    const followed = isFinal(found.state)
      ? { job: found, how: 'ended' as const }
      : await progress.around(() => followJob(context, client, found, { onEvent: progress.onEvent, cancelOnInterrupt }))
    const { job, how } = followed
    return {
      json: { job, how },
      lines: how === 'ended' ? jobLines(job, machine.now()) : [],
      exitCode: followedExitCode(followed),
    }
  },
})

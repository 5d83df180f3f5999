import { getJob, type LogLine, readLog } from '@hivesync/contracts/jobs.ts'
import type { Client, JobEvent } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { exitCode } from '../../exit-codes.ts'
import { followJob } from '../../follow-job.ts'
import { createLogOutput } from '../../log-output.ts'
import { parseCount } from '../../units.ts'

export const logs = defineCommand({
  name: 'job logs',
  summary: 'the output of a job',
  usage: 'JOB-ID',
  notes: [
    'The job’s standard output comes to standard output, its standard error and the worker’s remarks to standard error;',
    'what is missing is said, never hidden. Control characters are escaped on a terminal, as with `run`.',
  ],
  options: {
    follow: { type: 'boolean', short: 'f', summary: 'go on until the job has ended' },
    after: { type: 'string', value: 'SEQ', summary: 'only what comes after this number of the log' },
  },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal } = context
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const after = options.after === undefined ? -1 : parseCount(options.after, '--after', { min: 0, max: 999_999_999 })
    const output = createLogOutput(terminal, after)
    const items: LogLine[] = []
    const take = async (line: LogLine): Promise<void> => {
      if (!terminal.json) await output.write(line)
      else if (line.seq > after) items.push(line)
    }
    if (!options.follow) {
      await readWholeLog(client, jobId, after, take)
      return { json: { items } }
    }
    const job = await client.call(getJob, { params: { jobId } })
    const onEvent = async (event: JobEvent): Promise<void> => {
      if (event.type === 'log') await take(event.data)
    }
    const followed = await followJob(context, client, job, { onEvent, cancelOnInterrupt: false })
    return {
      json: { items, job: followed.job, how: followed.how },
      exitCode: exitCode(followed.how === 'ended' ? 'ok' : 'interrupted'),
    }
  },
})

async function readWholeLog(
  client: Client,
  jobId: string,
  after: number,
  take: (line: LogLine) => Promise<void>,
): Promise<void> {
  for (let last = after; ; ) {
    const { items } = await client.call(readLog, {
      params: { jobId },
      query: { after: last < 0 ? undefined : String(last), limit: '200' },
    })
    for (const line of items) await take(line)
    const end = items.at(-1)?.seq
    if (end === undefined || end <= last) return
    last = end
  }
}

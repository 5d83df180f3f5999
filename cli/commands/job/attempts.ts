import { listAttempts } from '@hivesync/contracts/jobs.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { receiptLines } from '../../receipt-lines.ts'
import { tableLines } from '../../table.ts'
import { formatDuration } from '../../units.ts'

export const attempts = defineCommand({
  name: 'job attempts',
  summary: 'every attempt at a job: which worker, how long, how it ended',
  usage: 'JOB-ID',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const { items } = await listAll((cursor) =>
      client.call(listAttempts, { params: { jobId }, query: { limit: '200', cursor } }),
    )
    const rows = items.map((attempt) => [
      String(attempt.number),
      attempt.workerName ?? attempt.workerId,
      attempt.claimedAt,
      attempt.endedAt === null ? '' : formatDuration(Date.parse(attempt.endedAt) - Date.parse(attempt.claimedAt)),
      attempt.outcome ?? 'under way',
      attempt.phases.map(({ phase }) => phase).join(' → '),
      attempt.error === null ? '' : `${attempt.error.message} (${attempt.error.code})`,
    ])
    if (rows.length === 0) await context.terminal.note('No attempt yet.')
    const headings = ['#', 'WORKER', 'CLAIMED', 'TOOK', 'OUTCOME', 'PHASES', 'ERROR']
    return {
      json: { items },
      lines:
        rows.length === 0
          ? []
          : [
              ...tableLines(headings, rows, context.terminal.columns('stdout')),
              ...items.flatMap((attempt) => {
                const receipt = receiptLines(attempt)
                return receipt.length === 0 ? [] : ['', `attempt ${attempt.number}`, ...receipt]
              }),
            ],
    }
  },
})

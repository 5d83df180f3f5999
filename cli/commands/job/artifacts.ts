import { listArtifacts } from '@hivesync/contracts/artifacts.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'

export const artifacts = defineCommand({
  name: 'job artifacts',
  summary: 'the files that a job left behind',
  usage: 'JOB-ID',
  notes: ['Fetch them with: hivesync job download JOB-ID'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = ''] = context.arguments
    const { items } = await listAll((cursor) =>
      client.call(listArtifacts, { params: { jobId }, query: { limit: '200', cursor } }),
    )
    if (items.length === 0) await context.terminal.note('No files.')
    const rows = items.map(({ path, bytes, attempt, sha256 }) => [path, String(bytes), String(attempt), sha256])
    const headings = ['PATH', 'BYTES', 'ATTEMPT', 'SHA-256']
    return {
      json: { items },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, context.terminal.columns('stdout')),
    }
  },
})

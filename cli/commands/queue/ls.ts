import { listQueues } from '@hivesync/contracts/queues.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'

export const ls = defineCommand({
  name: 'queue ls',
  summary: 'the queues of your projects: what waits, what runs, what is paused',
  usage: '',
  options: {},
  async run(context) {
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listQueues, { query: { limit: '200', cursor } }))
    const rows = items.map(({ projectId, kind, waiting, maxWaiting, running, maxRunning, paused }) => [
      kind,
      `${waiting}/${maxWaiting}`,
      maxRunning === null ? String(running) : `${running}/${maxRunning}`,
      paused === null ? '' : [`by ${paused.by}`, paused.reason ?? ''].filter(Boolean).join(': '),
      projectId,
    ])
    if (rows.length === 0) await context.terminal.note('No job was submitted yet.')
    const headings = ['QUEUE', 'WAITING', 'RUNNING', 'PAUSED', 'PROJECT']
    return {
      json: { items },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, context.terminal.columns('stdout')),
    }
  },
})

import { listWorkers, type Worker } from '@hivesync/contracts/workers.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import type { Styled } from '../../terminal.ts'
import { formatAge } from '../../units.ts'

const styles: Readonly<Record<Worker['state'], Styled['style']>> = {
  online: 'green',
  offline: 'red',
  draining: 'yellow',
  revoked: 'dim',
}

export const ls = defineCommand({
  name: 'worker ls',
  summary: 'the workers: state, what they run, how well they isolate',
  usage: '',
  options: {},
  async run(context) {
    const { terminal, machine } = context
    const { client } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listWorkers, { query: { limit: '200', cursor } }))
    const rows = items.map((worker) => [
      worker.name,
      { style: styles[worker.state], text: worker.state },
      `${worker.running}/${worker.slots}`,
      worker.isolation === null ? 'unknown' : worker.isolation.level,
      worker.lastSeenAt === null ? 'never' : formatAge(worker.lastSeenAt, machine.now()),
      worker.labels.join(' '),
      worker.version ?? '',
      worker.id,
    ])
    if (rows.length === 0) await terminal.note('No workers. Enrol one with: hivesync worker enrol')
    const headings = ['NAME', 'STATE', 'BUSY', 'ISOLATION', 'SEEN', 'LABELS', 'VERSION', 'ID']
    const reasons = items
      .filter((worker) => worker.isolation !== null && worker.isolation.reason !== null)
      .map((worker) => `${worker.name}: ${worker.isolation?.reason}`)
    const lines = rows.length === 0 ? [] : [...tableLines(headings, rows, terminal.columns('stdout')), ...reasons]
    return { json: { items }, lines }
  },
})

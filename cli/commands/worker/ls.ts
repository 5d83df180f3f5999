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
      { style: styles[worker.state], text: worker.ephemeral ? `${worker.state}, ephemeral` : worker.state },
      `${worker.running}/${worker.slots}`,
      worker.isolation === null ? 'unknown' : worker.isolation.level,
      worker.lastSeenAt === null ? 'never' : formatAge(worker.lastSeenAt, machine.now()),
      worker.pool,
      machineOf(worker),
      worker.labels.join(' '),
      worker.version ?? '',
      worker.id,
    ])
    if (rows.length === 0) await terminal.note('No workers. Enrol one with: hivesync worker enrol')
    const headings = ['NAME', 'STATE', 'BUSY', 'ISOLATION', 'SEEN', 'POOL', 'MACHINE', 'LABELS', 'VERSION', 'ID']
    const reasons = items.flatMap((worker) => troublesOf(worker).map((trouble) => `${worker.name}: ${trouble}`))
    const lines = rows.length === 0 ? [] : [...tableLines(headings, rows, terminal.columns('stdout')), ...reasons]
    return { json: { items }, lines }
  },
})

/** Cores, memory, processor and GPUs, as short as they are still understood. */
function machineOf({ capabilities }: Worker): string {
  if (capabilities === null) return ''
  const { cores, memoryMiB, arch, gpus } = capabilities
  const graphics = gpus.length === 0 ? '' : ` ${gpus.length} GPU`
  return `${cores}x ${Math.round(memoryMiB / 1024)}G ${arch}${graphics}`
}

/** More than this is worth a line; signatures tolerate five minutes. */
const noticeableSkewMs = 30_000

function troublesOf({ isolation, refusing, clockSkewMs }: Worker): string[] {
  const skew = clockSkewMs !== null && Math.abs(clockSkewMs) > noticeableSkewMs ? clockSkewMs : null
  return [
    ...(isolation === null || isolation.reason === null ? [] : [isolation.reason]),
    ...(refusing === null ? [] : [`takes no jobs: ${refusing}`]),
    ...(skew === null ? [] : [`its clock is ${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? 'ahead' : 'behind'}`]),
  ]
}

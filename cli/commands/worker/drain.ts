import { drainWorker } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWorker } from '../../worker-choice.ts'

export const drain = defineCommand({
  name: 'worker drain',
  summary: 'let a worker finish what it holds and take nothing new; admins only',
  usage: 'WORKER',
  notes: ['WORKER is a name or an id.'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { id } = await requireWorker(client, context.arguments[0] ?? '')
    const worker = await client.call(drainWorker, { params: { workerId: id } })
    return { json: worker, lines: [`${worker.name} takes nothing new; it still runs ${worker.running}.`] }
  },
})

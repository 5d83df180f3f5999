import { requestKeyRotation } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { formatAge } from '../../units.ts'
import { requireWorker } from '../../worker-choice.ts'

export const requestRotation = defineCommand({
  name: 'worker request-rotation',
  summary: 'have a worker change its key at its next poll; admins only',
  usage: 'WORKER',
  notes: [
    'WORKER is a name or an id. Workers change their keys by themselves after 60 of 90 days; this is for a key that may have leaked.',
    'A worker that does not come within a week must be enrolled anew. On its own machine: hivesync worker rotate-key',
  ],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const { id } = await requireWorker(client, context.arguments[0] ?? '')
    const worker = await client.call(requestKeyRotation, { params: { workerId: id } })
    const until = worker.keyExpiresAt ?? ''
    return {
      json: worker,
      lines: [`${worker.name} is to change its key; the present one ends ${formatAge(until, context.machine.now())}.`],
    }
  },
})

import { revokeWorker } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireWorker } from '../../worker-choice.ts'

export const revoke = defineCommand({
  name: 'worker revoke',
  summary: 'cut a worker off at once; its jobs go back to the queue; admins only',
  usage: 'WORKER',
  notes: ['WORKER is a name or an id. The machine needs a new enrolment to come back.'],
  options: {},
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const worker = await requireWorker(client, context.arguments[0] ?? '')
    await client.call(revokeWorker, { params: { workerId: worker.id } })
    return { json: { id: worker.id, name: worker.name, revoked: true }, lines: [`Revoked ${worker.name}.`] }
  },
})

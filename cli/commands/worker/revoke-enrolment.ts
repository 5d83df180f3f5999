import { revokeEnrolment as contract } from '@hivesync/contracts/workers.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const revokeEnrolment = defineCommand({
  name: 'worker revoke-enrolment',
  summary: 'let nobody enrol with a token any more; admins only',
  usage: 'ENROLMENT',
  notes: [
    'ENROLMENT is an id of `hivesync worker enrolments`. The workers that enrolled with it go on, unless --workers cuts them',
    'off in the same moment: for a token that has leaked. It can be added later by calling this again.',
  ],
  options: { workers: { type: 'boolean', summary: 'also cut off every worker that enrolled with it' } },
  arguments: [1, 1],
  async run(context) {
    const { client } = await connect(context)
    const [enrolmentId = ''] = context.arguments
    const body = { workers: context.options.workers }
    const revoked = await client.call(contract, { params: { enrolmentId }, body })
    return { json: revoked, lines: [`Nobody enrols with it any more; ${revoked.revokedWorkers} workers were cut off.`] }
  },
})

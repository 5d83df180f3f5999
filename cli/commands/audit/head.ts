import { getAuditCheckpoint } from '@hivesync/contracts/audit.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const head = defineCommand({
  name: 'audit head',
  summary: 'the newest signed checkpoint of the audit log, to be kept elsewhere',
  usage: '',
  notes: [
    'A copy on another machine is what shows that the log was cut or rewritten: hivesync audit verify --checkpoint FILE',
    'Keep the keys too (--keys), while nobody has tampered: hivesync audit head --keys > keys; hivesync audit head > checkpoint',
  ],
  options: { keys: { type: 'boolean', summary: 'the verifier keys instead, one a line' } },
  async run(context) {
    const { client } = await connect(context)
    const checkpoint = await client.call(getAuditCheckpoint)
    const { note, keys } = checkpoint
    return { json: checkpoint, lines: context.options.keys ? keys : note.trimEnd().split('\n') }
  },
})

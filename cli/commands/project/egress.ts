import { getEgress, setEgress } from '@hivesync/contracts/egress.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { requireProject } from '../../project-choice.ts'

export const egress = defineCommand({
  name: 'project egress',
  summary: 'the hosts that installs of a project may reach',
  usage: '[OPTIONS] [PROJECT]',
  notes: [
    'A host is a name such as registry.npmjs.org, or *.example.net for all names below it; port 443 is meant. Owners only may change the list.',
    'The operator of a worker may allow less: HIVESYNC_WORKER_ALLOW_HOSTS.',
  ],
  options: {
    add: { type: 'string', multiple: true, value: 'HOST', summary: 'allow this host, too' },
    remove: { type: 'string', multiple: true, value: 'HOST', summary: 'allow this host no more' },
  },
  arguments: [0, 1],
  async run(context) {
    const { add, remove } = context.options
    const connection = await connect(context)
    const { id } = await requireProject(connection, context.arguments[0])
    const params = { projectId: id }
    let { hosts } = await connection.client.call(getEgress, { params })
    if (add.length + remove.length > 0) {
      const wanted = [...new Set([...hosts, ...add])].filter((host) => !remove.includes(host))
      hosts = (await connection.client.call(setEgress, { params, body: { hosts: wanted } })).hosts
    }
    if (hosts.length === 0)
      await context.terminal.note('Installs may reach no host. Allow one with: hivesync project egress --add HOST')
    return { json: { hosts }, lines: hosts }
  },
})

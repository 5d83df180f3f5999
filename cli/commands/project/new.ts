import { createProject } from '@hivesync/contracts/projects.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'

export const create = defineCommand({
  name: 'project new',
  summary: 'create a project; the first one becomes the default',
  usage: 'NAME',
  options: {
    team: { type: 'string', value: 'TEAM-ID', summary: 'in this team instead of your personal one' },
    use: { type: 'boolean', summary: 'make it the default' },
  },
  arguments: [1, 1],
  async run(context) {
    const { client, source, profile } = await connect(context)
    const [name = ''] = context.arguments
    const project = await client.call(createProject, { body: { name, teamId: context.options.team } })
    const isDefault = source === 'profile' && (context.options.use || profile.project === undefined)
    if (isDefault) {
      const { id } = project
      await context.profileFile.update((stored) => ({ ...stored, project: { id, name: project.name } }))
    }
    const lines = [`Created project ${project.name} (${project.id})${isDefault ? ', now the default' : ''}.`]
    return { json: { ...project, isDefault }, lines }
  },
})

import { getProject } from '@hivesync/contracts/projects.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { requireProject } from '../../project-choice.ts'

export const use = defineCommand({
  name: 'project use',
  summary: 'make a project the default of this profile',
  usage: 'PROJECT',
  options: {},
  arguments: [1, 1],
  async run(context) {
    const connection = await connect(context)
    const { id } = await requireProject(connection, context.arguments[0])
    const project = await connection.client.call(getProject, { params: { projectId: id } })
    await context.profileFile.update((stored) => {
      // The id means nothing on another server.
      if (stored.server !== undefined && stored.server !== connection.server) {
        throw usageError(
          `The profile is for ${stored.server}, not ${connection.server}`,
          'Use another with --profile NAME',
        )
      }
      return { ...stored, server: connection.server, project: { id, name: project.name } }
    })
    return { json: project, lines: [`${project.name} is now the default project.`] }
  },
})

import { uploadFolder } from '../../bundle-choice.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { projectOption, requireProject } from '../../project-choice.ts'

export const up = defineCommand({
  name: 'bundle up',
  summary: 'upload a folder, for jobs to run on',
  usage: 'FOLDER',
  notes: [
    'Takes all plain files and folders but .git and node_modules; links and the like are left out, and said.',
    'Use it with: hivesync run --bundle ID -- COMMAND. It is kept for seven days, or as long as its jobs are open.',
  ],
  options: { project: projectOption },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal } = context
    const [folder = ''] = context.arguments
    const connection = await connect(context)
    const project = await requireProject(connection, options.project)
    const { bundle, skipped } = await uploadFolder(connection.client, terminal, project.id, folder)
    return {
      json: { bundle, skipped },
      lines: [`Uploaded bundle ${bundle.id}: ${bundle.entries} files and folders, ${bundle.bytes} bytes packed.`],
    }
  },
})

import { listProjects } from '@hivesync/contracts/projects.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { tableLines } from '../../table.ts'
import { formatAge } from '../../units.ts'

export const ls = defineCommand({
  name: 'project ls',
  summary: 'the projects you may read, newest first',
  usage: '',
  options: { all: { type: 'boolean', short: 'a', summary: 'archived ones, too' } },
  async run(context) {
    const { client, profile } = await connect(context)
    const { items } = await listAll((cursor) => client.call(listProjects, { query: { limit: '200', cursor } }))
    const shown = items.filter((project) => context.options.all || project.archivedAt === null)
    const rows = shown.map((project) => [
      project.id === profile.project?.id ? '*' : '',
      project.name,
      project.role ?? '',
      project.archivedAt === null ? formatAge(project.createdAt, context.machine.now()) : 'archived',
      project.id,
    ])
    if (rows.length === 0) await context.terminal.note('No projects. Make one with: hivesync project new NAME')
    return {
      json: { items: shown, defaultProjectId: profile.project?.id ?? null },
      lines:
        rows.length === 0
          ? []
          : tableLines(['', 'NAME', 'ROLE', 'CREATED', 'ID'], rows, context.terminal.columns('stdout')),
    }
  },
})

import { listProjects } from '@hivesync/contracts/projects.ts'
import { listAll } from '@hivesync/sdk'
import type { Connection } from './context.ts'
import { CliError, usageError } from './failure.ts'

export const projectOption = {
  type: 'string',
  short: 'p',
  value: 'PROJECT',
  summary: 'name or id; the default is set with `hivesync project use`',
} as const

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

export interface ProjectChoice {
  id: string
  name: string
}

/** The project that was named by id or name; without one the profile's default, or the only one there is. */
export async function requireProject(connection: Connection, named: string | undefined): Promise<ProjectChoice> {
  if (named === undefined && connection.profile.project !== undefined) return connection.profile.project
  if (named !== undefined && idPattern.test(named)) return { id: named, name: named }
  const { items } = await listAll((cursor) => connection.client.call(listProjects, { query: { limit: '200', cursor } }))
  const matches =
    named === undefined ? items.filter((item) => item.archivedAt === null) : items.filter((item) => item.name === named)
  const [first] = matches
  if (first !== undefined && matches.length === 1) return { id: first.id, name: first.name }
  if (named === undefined && first === undefined) {
    throw usageError('There is no project yet', 'Make one with: hivesync project new NAME')
  }
  if (named === undefined) throw usageError('Which project?', 'Say --project NAME, or once: hivesync project use NAME')
  if (first === undefined) {
    throw new CliError('project_not_found', 'notFound', `There is no project ${named}`, 'See: hivesync project ls')
  }
  throw usageError(
    `${matches.length} projects are called ${named}`,
    `Use an id: ${matches.map((item) => item.id).join(', ')}`,
  )
}

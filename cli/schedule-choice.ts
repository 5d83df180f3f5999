import { listSchedules, type Schedule } from '@hivesync/contracts/schedules.ts'
import { type Client, listAll } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'

/** The schedule of the project with that id, or the one with that name. */
export async function requireSchedule(client: Client, projectId: string, named: string): Promise<Schedule> {
  const { items } = await listAll((cursor) =>
    client.call(listSchedules, { params: { projectId }, query: { limit: '200', cursor } }),
  )
  const byId = items.find((schedule) => schedule.id === named)
  if (byId !== undefined) return byId
  const [first, ...others] = items.filter((schedule) => schedule.name === named)
  if (first === undefined)
    throw new CliError('schedule_not_found', 'notFound', `There is no schedule ${named}`, 'See: hivesync schedule ls')
  if (others.length === 0) return first
  const ids = [first, ...others].map(({ id }) => id)
  throw usageError(`${ids.length} schedules are called ${named}`, `Use an id: ${ids.join(', ')}`)
}

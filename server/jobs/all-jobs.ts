import type { Job, JobState } from '@hivesync/contracts/jobs.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { type Page, type PageRequest, pageRequest, toPage } from '../platform/page.ts'
import { type JobRow, shown } from './queries.ts'
import { toJob } from './read.ts'

/** Jobs of whatever project, for admins alone: the caller has proved that. */
export async function listJobsOfAll(
  ctx: Context,
  query: { limit?: string; cursor?: string; state?: JobState; kind?: string; teamId?: string; projectId?: string },
): Promise<Page<Job>> {
  const request = pageRequest(query)
  return toPage(await listRows(ctx.db.kysely, query, request), request, (row) => row.id, toJob)
}

/** Jobs of whatever project; relies on jobs_project for a project, and on the key for all. */
function listRows(
  db: Db,
  filter: { state?: JobState; kind?: string; teamId?: string; projectId?: string },
  page: PageRequest,
): Promise<Omit<JobRow, 'input'>[]> {
  let rows = db
    .selectFrom('jobs')
    .select(shown)
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  for (const name of ['state', 'kind', 'teamId', 'projectId'] as const) {
    const value = filter[name]
    if (value !== undefined) rows = rows.where(name, '=', value)
  }
  if (page.after !== undefined) rows = rows.where('id', '<', page.after)
  return rows.execute()
}

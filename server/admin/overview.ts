import type { Job, JobState } from '@hivesync/contracts/jobs.ts'
import type { ListedTeam } from '@hivesync/contracts/oversight.ts'
import type { Tier } from '@hivesync/contracts/tiers.ts'
import { listJobsOfAll } from '../jobs/jobs.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { listTeamRows } from './queries.ts'

/** Every team of this server, and what it uses. */
export async function listAllTeams(
  ctx: Context,
  query: { limit?: string; cursor?: string; q?: string },
): Promise<Page<ListedTeam>> {
  const request = pageRequest(query)
  return toPage(
    await listTeamRows(ctx.db.kysely, query.q, request),
    request,
    (row) => row.id,
    ({ personalUserId, tier, createdAt, ...row }) => ({
      ...row,
      // Only the migration and admins name tiers.
      tier: tier as Tier,
      isPersonal: personalUserId !== null,
      createdAt: isoTime(createdAt),
    }),
  )
}

/** Every job of this server; what may be done to one is the job's own operations, which admins may use. */
export function listAllJobs(
  ctx: Context,
  query: { limit?: string; cursor?: string; state?: JobState; kind?: string; teamId?: string; projectId?: string },
): Promise<Page<Job>> {
  return listJobsOfAll(ctx, query)
}

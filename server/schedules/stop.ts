import { expressionBuilder } from 'kysely'
import { hasScheduleRights } from '../jobs/jobs.ts'
import { forUpdate } from '../platform/db/dialect.ts'
import type { Schema } from '../platform/db/schema.ts'
import type { RevocationEffect } from '../platform/revocation.ts'
import { stop } from './run-due.ts'

/** A revocation must not grow too long for its database: the rest is stopped when its next run is due, for each run asks again. */
const maxAtOnce = 500

/** Stops the schedules that stand on what was revoked and whose maker could not submit their jobs any more (requirement B5), in the same commit. */
export const stopSchedules: RevocationEffect = {
  name: 'schedules',
  async apply(ctx, tx, actor, revocation) {
    const { users = [], apiKeys = [], projects = [], teams = [] } = revocation
    const is = expressionBuilder<Schema, 'schedules'>()
    const touched = [
      ...(users.length > 0 ? [is('submittedByUser', 'in', users)] : []),
      ...(apiKeys.length > 0 ? [is('submittedByKey', 'in', apiKeys)] : []),
      ...(projects.length > 0 ? [is('projectId', 'in', projects)] : []),
      ...(teams.length > 0 ? [is('teamId', 'in', teams)] : []),
    ]
    if (touched.length === 0) return undefined
    const rightless = tx
      .selectFrom('schedules')
      .selectAll()
      .where(is.or(touched))
      .where('pausedAt', 'is', null)
      .where(hasScheduleRights(ctx.clock.now()), '=', 0)
      .orderBy('id')
      .limit(maxAtOnce)
    for (const row of await forUpdate(tx, rightless).execute()) await stop(ctx, tx, actor, row)
    return undefined
  },
}

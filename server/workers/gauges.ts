import { workerAwayMs } from '../jobs/jobs.ts'
import { gaugeGroup } from '../platform/gauges.ts'
import { ephemeralKeyLifeMs } from './key-life.ts'

/** Workers renew their keys a month before the end: one that has so little left has not managed to. */
const expiringMs = 7 * 86_400_000

/** Where the workers are. Those revoked stay in the table, and are not counted: their number says nothing. */
export const workerGauges = gaugeGroup({
  name: 'workers',
  families: {
    hivesync_workers: 'Workers that are not revoked, by what they do',
    hivesync_worker_keys_expiring:
      'Workers whose key ends within a week, or has ended: they renew it when they are seen',
  },
  async read({ db, clock }) {
    const now = clock.now()
    const rows = await db.kysely
      .selectFrom('workers')
      .select(['lastSeenAt', 'drainingAt', 'refusing', 'keyExpiresAt', 'ephemeral'])
      .where('revokedAt', 'is', null)
      .execute()
    const states = { online: 0, draining: 0, refusing: 0, away: 0 }
    for (const { lastSeenAt, drainingAt, refusing } of rows) {
      if (lastSeenAt === null || lastSeenAt <= now - workerAwayMs) states.away++
      else if (drainingAt !== null) states.draining++
      else if (refusing !== null) states.refusing++
      else states.online++
    }
    const expiring = rows.filter(({ keyExpiresAt, ephemeral }) => {
      if (keyExpiresAt === null) return false
      return keyExpiresAt - now < (ephemeral === 1 ? ephemeralKeyLifeMs / 4 : expiringMs)
    })
    return [
      ...Object.entries(states).map(([state, value]) => ({
        ...{ name: 'hivesync_workers' as const, labels: { state }, value },
      })),
      { name: 'hivesync_worker_keys_expiring', value: expiring.length },
    ]
  },
})

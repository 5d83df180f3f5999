import { gaugeGroup } from '../platform/gauges.ts'

const expiringMs = 7 * 86_400_000

/** API keys that will soon stop working. */
export const keyGauges = gaugeGroup({
  name: 'api_keys',
  families: { hivesync_api_keys_expiring: 'API keys that end within a week' },
  async read({ db, clock }) {
    const now = clock.now()
    const { count } = await db.kysely
      .selectFrom('apiKeys')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('revokedAt', 'is', null)
      .where('expiresAt', '>', now)
      .where('expiresAt', '<=', now + expiringMs)
      .executeTakeFirstOrThrow()
    return [{ name: 'hivesync_api_keys_expiring', value: count }]
  },
})

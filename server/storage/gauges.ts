import { statfs } from 'node:fs/promises'
import { gaugeGroup } from '../platform/gauges.ts'

/** From here on a team is told of as near its limit. */
const nearShare = 0.9

/** Bytes of teams against their plans, and the disk that the data lie on. */
export const storageGauges = gaugeGroup({
  name: 'storage',
  families: {
    hivesync_storage_bytes: 'Bytes of bundles and artifacts, of all teams',
    hivesync_storage_teams_near_limit: 'Teams that have used nine tenths of what their plan keeps',
    hivesync_disk_free_bytes: 'What is free of the disk that the data folder lies on',
    hivesync_disk_size_bytes: 'How large that disk is',
  },
  async read({ db, config }) {
    const { bytes, near } = await db.kysely
      .selectFrom('teamStorage')
      .innerJoin('teams', 'teams.id', 'teamStorage.teamId')
      .innerJoin('tiers', 'tiers.name', 'teams.tier')
      .select(({ fn, eb, ref }) => [
        fn.sum<number | null>('teamStorage.bytes').as('bytes'),
        fn
          .sum<number | null>(
            eb
              .case()
              .when('teamStorage.bytes', '>', eb(ref('tiers.storedBytes'), '*', eb.lit(nearShare)))
              .then(eb.lit(1))
              .else(eb.lit(0))
              .end(),
          )
          .as('near'),
      ])
      .executeTakeFirstOrThrow()
    const { bavail, blocks, bsize } = await statfs(config.dataDir)
    return [
      { name: 'hivesync_storage_bytes', value: Number(bytes ?? 0) },
      { name: 'hivesync_storage_teams_near_limit', value: Number(near ?? 0) },
      { name: 'hivesync_disk_free_bytes', value: bavail * bsize },
      { name: 'hivesync_disk_size_bytes', value: blocks * bsize },
    ]
  },
})

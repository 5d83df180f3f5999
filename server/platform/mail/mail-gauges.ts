import { gaugeGroup } from '../gauges.ts'

/** What waits in the mail queue. */
export const mailGauges = gaugeGroup({
  name: 'mail',
  families: {
    hivesync_mail_queued: 'Mails that wait to be sent',
    hivesync_mail_oldest_seconds: 'How long the oldest of them has waited',
  },
  async read({ db, clock }) {
    const { count, oldest } = await db.kysely
      .selectFrom('mailQueue')
      .select(({ fn }) => [fn.countAll<number>().as('count'), fn.min('createdAt').as('oldest')])
      .executeTakeFirstOrThrow()
    return [
      { name: 'hivesync_mail_queued', value: count },
      { name: 'hivesync_mail_oldest_seconds', value: oldest === null ? 0 : (clock.now() - oldest) / 1000 },
    ]
  },
})

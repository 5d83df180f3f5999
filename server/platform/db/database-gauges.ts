import { gaugeGroup } from '../gauges.ts'

/** What the database of this process has done. */
export const databaseGauges = gaugeGroup({
  name: 'database',
  families: {
    hivesync_database_transactions_total: 'Transactions, by what became of them',
    hivesync_database_retries_total: 'Transactions tried again after a deadlock or a serialization failure',
    hivesync_database_group_commits_total: 'Commits on SQLite, each shared by the transactions of its moment',
    hivesync_database_pool_waits_total: 'Requests for a connection that found none idle (PostgreSQL)',
    hivesync_database_pool_wait_seconds_total: 'How long they waited',
  },
  read({ db }) {
    const { committed, refused, failed, retried, groups, poolWaits, poolWaitMs } = db.counts()
    const transactions = { committed, refused, failed }
    return [
      ...Object.entries(transactions).map(([outcome, value]) => ({
        ...{ name: 'hivesync_database_transactions_total' as const, labels: { outcome }, value },
      })),
      { name: 'hivesync_database_retries_total', value: retried },
      { name: 'hivesync_database_group_commits_total', value: groups },
      { name: 'hivesync_database_pool_waits_total', value: poolWaits },
      { name: 'hivesync_database_pool_wait_seconds_total', value: poolWaitMs / 1000 },
    ]
  },
})

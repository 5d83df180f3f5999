/** What a database has done since it was opened, for the metrics: plain numbers that grow. */
export interface DatabaseCounts {
  committed: number
  /** Undone because the act was refused. */
  refused: number
  failed: number
  /** Tried again after a deadlock or a serialization failure. */
  retried: number
  /** SQLite: commits, each of which many transactions may share. */
  groups: number
  /** PostgreSQL: connections that had to be waited for, and how long. */
  poolWaits: number
  poolWaitMs: number
}

export function createDatabaseCounts(): DatabaseCounts {
  return { committed: 0, refused: 0, failed: 0, retried: 0, groups: 0, poolWaits: 0, poolWaitMs: 0 }
}

/** What went wrong in the database layer itself; errors of the engine (constraint, syntax) keep their own class. */
export type DatabaseErrorCode =
  | 'database_url_invalid'
  | 'database_in_use'
  | 'database_closed'
  | 'parameter_refused'
  | 'value_out_of_range'
  | 'outside_transaction'
  | 'transaction_nested'
  | 'transaction_aborted'
  | 'transaction_ended'
  | 'transaction_timeout'
  | 'group_rolled_back'
  | 'migration_invalid'
  | 'migration_changed'
  | 'migration_missing'
  | 'migration_unknown'
  | 'role_refused'
  | 'database_unavailable'
  | 'database_not_empty'
  | 'copy_broken'

/** An error of this layer. `code` is stable; the message names neither values nor passwords. */
export class DatabaseError extends Error {
  readonly code: DatabaseErrorCode

  constructor(code: DatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options)
    this.name = 'DatabaseError'
    this.code = code
  }
}

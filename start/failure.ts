/** SQLSTATE classes with which PostgreSQL refuses the connection or the role, not the statement. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const postgresRefusal = /^(?:08|28|3D|53|57)...$|^42501$/

/**
 * One line for the person who typed `npm start` when it is the machine that refuses: a port in use, a folder that may not be written, a database
 * that does not answer. Undefined for a fault of our own, whose stack somebody will want to see.
 */
export function explainFailure(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  const { code, syscall, port } = error as NodeJS.ErrnoException & { code: string; port?: number }
  const isListening = syscall === 'listen'
  if (code === 'database_in_use') return `HiveSync runs on this data folder already: ${error.message}`
  if (code === 'EADDRINUSE')
    return `Port ${port} is in use. Stop what listens there, or set HIVESYNC_PORT to another one.`
  if (code === 'EADDRNOTAVAIL' && isListening)
    return `${error.message}: this machine has no such address; see HIVESYNC_HOST.`
  if (code === 'EACCES' && isListening)
    return `Only root may listen on port ${port}: set HIVESYNC_PORT to one above 1023.`
  const isSystem = syscall !== undefined || error instanceof AggregateError
  const isDatabase = postgresRefusal.test(code) || code === 'database_url_invalid' || code.startsWith('migration_')
  return isSystem || isDatabase ? `The server cannot start: ${messageOf(error)}` : undefined
}

/** `localhost` has two addresses: what each of them answered is in the errors of an AggregateError, whose own message is empty. */
function messageOf(error: Error): string {
  if (!(error instanceof AggregateError)) return error.message
  return error.errors.map((each: unknown) => (each instanceof Error ? each.message : String(each))).join('; ')
}

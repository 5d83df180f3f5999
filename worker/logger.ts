/** The only members a log line may have (requirement D6): no job's code, output, environment or credentials can slip in. */
const allowed = [
  'attempt',
  'bytes',
  'cause',
  'code',
  'count',
  'detail',
  'durationMs',
  'fix',
  'isolation',
  'jobId',
  'kind',
  'name',
  'outcome',
  'port',
  'reason',
  'requestId',
  'server',
  'skewMs',
  'signal',
  'slots',
  'status',
  'token',
  'version',
  'workerId',
] as const

/** `token` is a lease's fencing number, `server` an origin. Texts are cut at 500 characters; queries of URLs are removed. */
export type LogFields = Partial<Record<(typeof allowed)[number], string | number | boolean | null>>

export interface Logger {
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  /** With the fault's class, message and stack. */
  error(event: string, fields?: LogFields, fault?: unknown): void
}

/** The log of what is done for one request: each of its lines carries the id. */
export function withRequest(log: Logger, requestId: string | undefined): Logger {
  if (requestId === undefined) return log
  return {
    info: (event, fields) => log.info(event, { ...fields, requestId }),
    warn: (event, fields) => log.warn(event, { ...fields, requestId }),
    error: (event, fields, fault) => log.error(event, { ...fields, requestId }, fault),
  }
}

const maxTextLength = 500
const maxStackLength = 2000

/** One JSON object per line; line breaks and escape codes in a value are escaped by JSON, so lines cannot be forged. */
export function createLogger(write: (line: string) => void, nowMs: () => number): Logger {
  function log(level: 'info' | 'warn' | 'error', event: string, fields: LogFields, fault?: unknown): void {
    const line: Record<string, unknown> = { level, time: new Date(nowMs()).toISOString(), event }
    for (const key of allowed) {
      const value = fields[key]
      if (value !== undefined) line[key] = typeof value === 'string' ? withoutQueries(value, maxTextLength) : value
    }
    write(`${JSON.stringify({ ...line, ...describeFault(fault) })}\n`)
  }
  return {
    info: (event, fields = {}) => log('info', event, fields),
    warn: (event, fields = {}) => log('warn', event, fields),
    error: (event, fields = {}, fault) => log('error', event, fields, fault),
  }
}

function describeFault(fault: unknown): Record<string, string> {
  if (fault === undefined) return {}
  if (!(fault instanceof Error)) return { errorName: typeof fault }
  return {
    errorName: fault.name,
    errorMessage: withoutQueries(fault.message, maxTextLength),
    ...(fault.stack && { stack: withoutQueries(fault.stack, maxStackLength) }),
  }
}

/** The query or the user part of a URL may hold a token. */
function withoutQueries(text: string, maxLength: number): string {
  return text
    .slice(0, maxLength)
    .replace(/(\w:\/\/[^\s?#'"]*)[?#][^\s'"]*/g, '$1')
    .replace(/:\/\/[^\s/@'"]*@/g, '://')
}

import { pino } from 'pino'

/** The only members a log line may have (requirement K3): anything else is dropped, so that no body, token, password, email or whole address can slip in. */
const allowed = [
  'event',
  'requestId',
  'method',
  'route',
  'status',
  'durationMs',
  'actor',
  'actorId',
  'code',
  'jobId',
  'projectId',
  'workerId',
  'token',
  'count',
  'kind',
  'state',
  'reason',
  'url',
  'name',
  'version',
  'signal',
  'errorName',
  'errorMessage',
  'stack',
] as const
/** `token` is a lease's fencing number and `url` the server's own address; neither may hold a text from outside. */
export type LogFields = Partial<Record<(typeof allowed)[number], string | number | boolean | null>>

export interface Logger {
  info(fields: LogFields): void
  warn(fields: LogFields): void
  /** Logs a fault with its stack; the message of a refusal never comes from a client. */
  error(fields: LogFields, cause?: unknown): void
  flush(): void
}

// A log line is one JSON line; a stray line break or escape code in a value is escaped by JSON, so lines cannot be forged.
const maxTextLength = 4000

function pick(fields: LogFields): LogFields {
  const picked: LogFields = {}
  for (const key of allowed) {
    const value = fields[key]
    if (value === undefined) continue
    picked[key] = typeof value === 'string' && value.length > maxTextLength ? value.slice(0, maxTextLength) : value
  }
  return picked
}

function describe(cause: unknown): LogFields {
  if (cause === undefined) return {}
  if (!(cause instanceof Error)) return { errorMessage: typeof cause }
  return { errorName: cause.name, errorMessage: cause.message, stack: cause.stack ?? null }
}

/** JSON lines to the given destination, ISO times, only allow-listed members. */
export function createLogger(destination: { write(line: string): void }, level: 'info' | 'silent' = 'info'): Logger {
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return {
    info: (fields) => log.info(pick(fields)),
    warn: (fields) => log.warn(pick(fields)),
    error: (fields, cause) => log.error(pick({ ...fields, ...describe(cause) })),
    flush: () => log.flush(),
  }
}

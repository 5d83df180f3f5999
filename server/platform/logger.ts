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
  /** Logs a fault with its message and stack, in which what looks like a credential or an email address is masked. */
  error(fields: LogFields, cause?: unknown): void
  /** Writes what is still held back; resolves in any case. */
  flush(): Promise<void>
}

// A log line is one JSON line; a stray line break or escape code in a value is escaped by JSON, so lines cannot be forged.
const maxTextLength = 4000

const allowedNames: ReadonlySet<string> = new Set(allowed)
function isAllowed(name: string): name is (typeof allowed)[number] {
  return allowedNames.has(name)
}

/** What of a refusal's details may be logged: allow-listed members that are plain values. */
export function pickLogFields(fields: Readonly<Record<string, unknown>>): LogFields {
  const picked: LogFields = {}
  for (const key of Object.keys(fields)) {
    if (!isAllowed(key)) continue
    const value = fields[key]
    if (typeof value === 'string') picked[key] = value.slice(0, maxTextLength)
    else if (value === null || typeof value === 'number' || typeof value === 'boolean') picked[key] = value
  }
  return picked
}

/** What an error's text may quote from outside: credentials in an address, access tokens, keys and digests, email addresses. */
const secretsInText: readonly [RegExp, string][] = [
  [/:\/\/[^\s/?#]{1,1000}@/g, '://…@'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '…'],
  [/[\w-]{40,}/g, '…'],
  [/[^\s@"'<>(/]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+/g, '…@…'],
]

function redact(text: string): string {
  return secretsInText.reduce((result, [pattern, mask]) => result.replace(pattern, mask), text.slice(0, maxTextLength))
}

/** What is logged of something thrown: its name, and message and stack without what looks like a credential or an address. */
export function describeCause(cause: unknown): LogFields {
  if (cause === undefined) return {}
  if (!(cause instanceof Error)) return { errorMessage: typeof cause }
  return {
    errorName: cause.name,
    errorMessage: redact(cause.message),
    stack: cause.stack === undefined ? null : redact(cause.stack),
  }
}

/** The same log without the requests that went well: on the terminal of whoever typed `npm start` they would bury everything else. */
export function withoutRoutine(log: Logger): Logger {
  return {
    ...log,
    info(fields) {
      const isRoutine = fields.event === 'request' && typeof fields.status === 'number' && fields.status < 400
      if (!isRoutine) log.info(fields)
    },
  }
}

export interface LogDestination {
  write(line: string): void
  /** Writes what is still held back; resolves in any case. */
  flush?(): Promise<void>
}

/** A reader that takes nothing does not keep us from ending. */
const flushWithinMs = 1000

/**
 * Standard error, a batch of lines at a time: a write for each line is 9 % of a small request (profiled). A process that is killed may lose the lines of
 * the last 200 ms; what must not be lost is in the audit log.
 */
export function openStandardError(): LogDestination {
  const destination = pino.destination({ dest: 2, sync: false, minLength: 4096, periodicFlush: 200 })
  let isGone = false
  // Nobody reads it any more, a terminal that was closed for instance: that must not end the server, and there is no place left to say so. Destroyed, for what it still
  // holds it would try to write at the exit, again and again for ever.
  destination.on('error', () => {
    isGone = true
    destination.destroy()
  })
  return {
    write(line) {
      if (!isGone) destination.write(line)
    },
    async flush() {
      if (isGone) return
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, flushWithinMs)
      destination.once('error', () => resolve())
      destination.flush(() => resolve())
      await promise
      clearTimeout(timer)
    },
  }
}

export const logLevels = ['info', 'warn', 'error'] as const
/** The least that is written. */
export type LogLevel = (typeof logLevels)[number]

/** JSON lines to the given destination, ISO times, only allow-listed members. */
export function createLogger(destination: LogDestination, level: LogLevel | 'silent' = 'info'): Logger {
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
    info: (fields) => log.info(pickLogFields(fields)),
    warn: (fields) => log.warn(pickLogFields(fields)),
    error: (fields, cause) => log.error(pickLogFields({ ...fields, ...describeCause(cause) })),
    flush: async () => destination.flush?.(),
  }
}

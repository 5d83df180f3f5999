import type { Config } from './config.ts'
import { openLogFile } from './log-file.ts'
import { createLogger, type Logger, openStandardError } from './logger.ts'

/** The log that the configuration asks for: standard error, or a file that SIGHUP has opened anew. `onTerminal` may thin out what goes to standard error. */
export function openLog(
  { observability: { logFile, logLevel } }: Config,
  onTerminal: (log: Logger) => Logger = (log) => log,
): Logger {
  if (logFile === null) return onTerminal(createLogger(openStandardError(), logLevel))
  const file = openLogFile(logFile)
  process.on('SIGHUP', file.reopen)
  return createLogger(file, logLevel)
}

import { type Server, serveUntilStopped } from '../main.ts'
import { ConfigError, readConfig } from '../platform/config.ts'
import type { Logger } from '../platform/logger.ts'
import { openLog } from '../platform/open-log.ts'

/** EX_USAGE and EX_CONFIG of sysexits.h. */
const misused = 64
const refusedConfiguration = 78

/** Runs the control plane alone, as the environment says; 78 and a line per problem on stderr when the configuration is refused. */
export async function serveCommand(
  args: readonly string[],
  onListening: (server: Server) => void = () => {},
  onTerminal?: (log: Logger) => Logger,
): Promise<number> {
  if (args.length > 0) {
    process.stderr.write('hivesync serve takes no arguments: settings come from the environment\n')
    return misused
  }
  try {
    const config = readConfig()
    onListening(await serveUntilStopped(config, openLog(config, onTerminal)))
    return 0
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) process.stderr.write(`${problem}\n`)
    return refusedConfiguration
  }
}

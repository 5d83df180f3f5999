import { serveUntilStopped } from '../main.ts'
import { ConfigError, parseConfig } from '../platform/config.ts'

/** EX_CONFIG of sysexits.h. */
const refusedConfiguration = 78

/** Runs the control plane alone, as the environment says; 78 and a line per problem on stderr when the configuration is refused. */
export async function serveCommand(environment: Readonly<Record<string, string | undefined>>): Promise<number> {
  try {
    await serveUntilStopped(parseConfig(environment))
    return 0
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) process.stderr.write(`${problem}\n`)
    return refusedConfiguration
  }
}

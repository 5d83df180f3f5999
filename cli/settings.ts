import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { CliError } from './failure.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** What the environment says. */
export interface Settings {
  /** Folder of the profiles. */
  readonly home: string
  /** An API key that stands above any profile. */
  readonly token: string | undefined
  readonly server: string | undefined
  readonly allowHttp: boolean
  /** NO_COLOR (no-color.org) or a terminal that cannot. */
  readonly noColor: boolean
}

export const settingNames = {
  HIVESYNC_CLI_HOME: 'folder of the profiles instead of $XDG_CONFIG_HOME/hivesync or ~/.config/hivesync',
  HIVESYNC_CLI_SERVER: 'the server, over that of the profile',
  HIVESYNC_CLI_TOKEN: 'an API key, over the credentials of the profile',
  HIVESYNC_CLI_ALLOW_HTTP: '1 allows http: to another machine',
} as const

/** The environment of this process; nothing else in the command line reads it. */
export function thisEnvironment(): Environment {
  return process.env
}

/** Reads the settings; a name that begins like ours but is not is refused, because a misspelt token would fail silently. */
export function readSettings(env: Environment): Settings {
  const read = (name: keyof typeof settingNames): string | undefined => env[name]?.trim() || undefined
  for (const name of Object.keys(env)) {
    if (name.startsWith('HIVESYNC_CLI_') && !(name in settingNames)) {
      throw new CliError(
        'configuration',
        'configuration',
        `${name} is not a setting`,
        `There are: ${Object.keys(settingNames).join(', ')}`,
      )
    }
  }
  const allowHttp = read('HIVESYNC_CLI_ALLOW_HTTP')
  if (allowHttp !== undefined && allowHttp !== '1' && allowHttp !== '0') {
    throw new CliError('configuration', 'configuration', 'HIVESYNC_CLI_ALLOW_HTTP is 1 or 0')
  }
  const home = read('HIVESYNC_CLI_HOME')
  if (home !== undefined && !isAbsolute(home)) {
    throw new CliError('configuration', 'configuration', 'HIVESYNC_CLI_HOME must be an absolute path')
  }
  return {
    home: home ?? join(configHome(env), 'hivesync'),
    token: read('HIVESYNC_CLI_TOKEN'),
    server: read('HIVESYNC_CLI_SERVER'),
    allowHttp: allowHttp === '1',
    noColor: isColorUnwanted(env),
  }
}

export function isColorUnwanted(env: Environment): boolean {
  return (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb'
}

/** The XDG base directory specification: a relative path is to be ignored. */
function configHome(env: Environment): string {
  const configured = env.XDG_CONFIG_HOME
  if (configured !== undefined && isAbsolute(configured)) return configured
  return join(env.HOME !== undefined && isAbsolute(env.HOME) ? env.HOME : homedir(), '.config')
}

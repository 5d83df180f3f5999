import {
  type Client,
  type Credentials,
  createClient,
  type DeviceKey,
  deviceKeyOf,
  importDeviceJwk,
  type TokenStore,
} from '@hivesync/sdk'
import { CliError } from './failure.ts'
import type { Machine } from './machine.ts'
import type { OptionTable, OptionValues } from './options.ts'
import manifest from './package.json' with { type: 'json' }
import type { GlobalOptions } from './parse-arguments.ts'
import { openProfile, type Profile, type ProfileFile, type StoredCredentials } from './profile.ts'
import { readSettings, type Settings } from './settings.ts'
import { createTerminal, type Terminal } from './terminal.ts'

export const version: string = manifest.version
export const defaultServer = 'http://127.0.0.1:7070'

/** What every command works with. */
export interface Workbench {
  readonly machine: Machine
  readonly settings: Settings
  readonly globals: GlobalOptions
  readonly terminal: Terminal
  readonly profileFile: ProfileFile
}

export interface Context<O extends OptionTable = OptionTable> extends Workbench {
  readonly options: OptionValues<O>
  readonly arguments: readonly string[]
}

/** Where requests go and as whom. */
export interface Connection {
  client: Client
  server: string
  /** Where the credentials come from. */
  source: 'environment' | 'profile' | 'none'
  /** The profile, as far as it speaks of this server. */
  profile: Profile
}

export function openWorkbench(machine: Machine, globals: GlobalOptions): Workbench {
  const settings = readSettings(machine.env)
  const noColor = settings.noColor || globals.noColor
  return {
    machine,
    settings,
    globals,
    terminal: createTerminal(machine, { ...globals, noColor }),
    profileFile: openProfile(settings.home, globals.profile ?? 'default'),
  }
}

/**
 * The server to talk to: the option, the environment, the profile, this machine. What the profile holds for one server
 * (credentials, default project) is never used with another: `--server` must not carry a token away.
 */
export async function connect(workbench: Workbench): Promise<Connection> {
  const { settings, globals, profileFile } = workbench
  const stored = await profileFile.read()
  const server = withoutSlash(globals.server ?? settings.server ?? stored.server ?? defaultServer)
  const profile = stored.server === server ? stored : { server }
  const credentials: Credentials | undefined =
    settings.token === undefined ? openSession(workbench, profile) : { kind: 'api-key', apiKey: settings.token }
  const source = settings.token !== undefined ? 'environment' : credentials !== undefined ? 'profile' : 'none'
  return { client: openClient(workbench, server, profile, credentials), server, source, profile }
}

/** A client without credentials, for what anybody may call. */
export async function connectPublicly(workbench: Workbench): Promise<Client> {
  const { client } = await connect({ ...workbench, settings: { ...workbench.settings, token: undefined } })
  return client
}

export function openClient(
  workbench: Workbench,
  server: string,
  profile: Profile,
  credentials: Credentials | undefined,
): Client {
  const { machine, settings, globals } = workbench
  return createClient({
    server,
    credentials,
    allowHttp: globals.allowHttp || settings.allowHttp || profile.allowHttp === true,
    fetch: machine.fetch,
    userAgent: `hivesync-cli/${version}`,
    now: machine.now,
    random: machine.random,
  })
}

/** What a profile logs in with: an API key, or a session that its own key proves at every refresh. */
export function openSession(workbench: Workbench, profile: Profile): Credentials | undefined {
  const { credentials } = profile
  if (credentials?.kind !== 'session') return credentials
  const store = sessionStore(workbench.profileFile, profile.server)
  return { kind: 'session', store, deviceKey: openDeviceKey(workbench, credentials) }
}

function openDeviceKey(
  { machine, profileFile }: Workbench,
  { deviceKey }: StoredCredentials & { kind: 'session' },
): DeviceKey | undefined {
  if (deviceKey === undefined) return undefined
  return {
    async prove(request) {
      const pair = await importDeviceJwk(deviceKey).catch((error: unknown) => {
        const message = `The key of the session in ${profileFile.path} cannot be used: ${String(error)}`
        throw new CliError('device_key_unusable', 'configuration', message, 'Log in again with: hivesync login')
      })
      return deviceKeyOf(pair, machine.now).prove(request)
    },
  }
}

/** The session of a profile, shared with the other commands that run at the same time. */
export function sessionStore(file: ProfileFile, server: string | undefined): TokenStore {
  let write: ((profile: Profile) => Promise<void>) | undefined
  async function load() {
    const profile = await file.read()
    return profile.server === server && profile.credentials?.kind === 'session' ? profile.credentials : undefined
  }
  return {
    load,
    async save(tokens) {
      if (write === undefined) throw new Error('tokens are saved under the lock only')
      const profile = await file.read()
      if (profile.credentials?.kind !== 'session') throw new Error('the session is gone from the profile')
      await write({ ...profile, credentials: { ...profile.credentials, ...tokens } })
    },
    withLock: (work) =>
      file.withLock(async (writeProfile) => {
        write = writeProfile
        try {
          return await work()
        } finally {
          write = undefined
        }
      }),
  }
}

export function withoutSlash(address: string): string {
  return address.replace(/\/+$/, '')
}

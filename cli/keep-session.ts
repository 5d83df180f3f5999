import type { Login } from '@hivesync/contracts/sessions.ts'
import { generateDeviceJwk, HiveSyncError, toTokenPair } from '@hivesync/sdk'
import { openClient, openSession, type Workbench } from './context.ts'
import { isPassing } from './failure.ts'
import type { Profile, StoredCredentials } from './profile.ts'

/**
 * Keeps a new session in the profile and binds it to a key made for it alone, by a first refresh: before the login the server's public address,
 * which proofs must name, is not known. Answers whether it is bound; where it is not, the login holds all the same and the person is told.
 */
export async function keepSession(workbench: Workbench, server: string, login: Login): Promise<boolean> {
  const credentials: StoredCredentials = {
    kind: 'session',
    ...toTokenPair(login, workbench.machine.now()),
    username: login.user.username,
    sessionExpiresAt: login.session.expiresAt,
    // The key comes first: whatever happens on the way to the server, no session is bound to a key that nobody has.
    // A new one for each session: a server that states another's address gets proofs that the other does not take.
    deviceKey: await generateDeviceJwk(),
  }
  const profile = await workbench.profileFile.update((stored) => ({
    ...rememberServer(workbench, stored, server),
    ...(login.deviceToken === undefined ? {} : { deviceToken: login.deviceToken }),
    credentials,
  }))
  const problem = await bind(workbench, profile)
  if (problem === undefined) return true
  await workbench.terminal.warn(
    `The session is not bound to a key of this machine: ${problem}.`,
    'You are logged in, but whoever gets hold of its refresh token can use it.',
  )
  return false
}

/** Undefined once the session is bound; otherwise why it is not. */
async function bind(workbench: Workbench, profile: Profile): Promise<string | undefined> {
  const { server = '' } = profile
  const client = openClient(workbench, server, profile, openSession(workbench, profile))
  try {
    const session = await client.refreshSession()
    return session.deviceBound ? undefined : 'the server did not take the key'
  } catch (error) {
    if (!(error instanceof HiveSyncError)) throw error
    const why = `${error.title}${error.detail === null ? '' : `: ${error.detail}`}`
    // Perhaps the reply alone was lost: with the key the session lives on in both cases, and the next refresh binds it.
    if (isPassing(error)) return `${why}; the next refresh tries again`
    if (error.code !== 'invalid_device_proof') throw error
    // With this key every further refresh would be refused as well, and the session would end with its access token.
    await workbench.profileFile.update(({ credentials, ...rest }) => ({ ...rest, ...withoutKey(credentials) }))
    return why
  }
}

function withoutKey(credentials: StoredCredentials | undefined): { credentials?: StoredCredentials } {
  if (credentials?.kind !== 'session') return credentials === undefined ? {} : { credentials }
  const { deviceKey: _, ...rest } = credentials
  return { credentials: rest }
}

/** The profile, turned to this server; another server's default project and device token are forgotten. */
export function rememberServer(workbench: Workbench, profile: Profile, server: string): Profile {
  const { project, deviceToken, allowHttp } = profile
  const isSame = profile.server === server
  const isHttpAllowed = workbench.globals.allowHttp || workbench.settings.allowHttp || (isSame && allowHttp === true)
  return {
    server,
    ...(isHttpAllowed ? { allowHttp: true } : {}),
    ...(isSame && project !== undefined ? { project } : {}),
    ...(isSame && deviceToken !== undefined ? { deviceToken } : {}),
  }
}

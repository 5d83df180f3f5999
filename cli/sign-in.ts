import { type Login, logIn } from '@hivesync/contracts/sessions.ts'
import { type Client, toTokenPair } from '@hivesync/sdk'
import type { Workbench } from './context.ts'
import type { Profile } from './profile.ts'

/** Logs in and keeps the session in the profile; another server's default project is forgotten. */
export async function signIn(
  workbench: Workbench,
  client: Client,
  who: { login: string; password: string },
): Promise<Login> {
  const name = `hivesync on ${workbench.machine.hostname}`.replace(/[^\x20-\x7e]/g, '-').slice(0, 100)
  const reply = await client.call(logIn, { body: { ...who, device: { name } } })
  const credentials = {
    kind: 'session' as const,
    ...toTokenPair(reply, workbench.machine.now()),
    username: reply.user.username,
    sessionExpiresAt: reply.session.expiresAt,
  }
  await workbench.profileFile.update((profile) => ({
    ...rememberServer(workbench, profile, client.server),
    credentials,
  }))
  return reply
}

/** The profile, turned to this server. */
export function rememberServer(workbench: Workbench, profile: Profile, server: string): Profile {
  const { project, allowHttp } = profile
  const isSame = profile.server === server
  const isHttpAllowed = workbench.globals.allowHttp || workbench.settings.allowHttp || (isSame && allowHttp === true)
  return {
    server,
    ...(isHttpAllowed ? { allowHttp: true } : {}),
    ...(isSame && project !== undefined ? { project } : {}),
  }
}

import { logOut } from '@hivesync/contracts/sessions.ts'
import { HiveSyncError } from '@hivesync/sdk'
import { defineCommand } from '../command.ts'
import { connect } from '../context.ts'
import { describeFailure } from '../failure.ts'

export const logout = defineCommand({
  name: 'logout',
  summary: 'end the session and forget the credentials',
  usage: '',
  notes: [
    'An API key is only forgotten here; revoke it on the server. Server and default project stay in the profile.',
  ],
  options: {},
  async run(workbench) {
    // The key in the environment is not what is logged out.
    const ofProfile = { ...workbench, settings: { ...workbench.settings, token: undefined } }
    const { client, server, profile } = await connect(ofProfile)
    const { credentials } = profile
    if (credentials === undefined) {
      return { json: { server, loggedOut: false, sessionEnded: false }, lines: [`There is no login to ${server}.`] }
    }
    const problem = credentials.kind === 'session' ? await endSession(() => client.call(logOut)) : undefined
    await workbench.profileFile.update(({ credentials: _, ...rest }) => rest)
    if (problem !== undefined) {
      const { message, exitCode } = describeFailure(problem)
      await workbench.terminal.warn(
        `The credentials are gone from here, but the session could not be ended on the server: ${message}.`,
        'It stays valid until it expires; end it from another login.',
      )
      return { json: { server, loggedOut: true, sessionEnded: false }, lines: [], exitCode }
    }
    return { json: { server, loggedOut: true, sessionEnded: true }, lines: [`Logged out of ${server}.`] }
  },
})

/** What kept the session from being ended; nothing when it has ended, now or before. */
async function endSession(end: () => Promise<unknown>): Promise<HiveSyncError | undefined> {
  try {
    await end()
    return undefined
  } catch (error) {
    if (!(error instanceof HiveSyncError)) throw error
    return error.status === 401 ? undefined : error
  }
}

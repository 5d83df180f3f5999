import { constants } from 'node:fs'
import { chmod, type FileHandle, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DeviceJwk } from '@hivesync/sdk'
import { CliError, usageError } from './failure.ts'
import { withFileLock } from './file-lock.ts'

export type StoredCredentials =
  | {
      kind: 'session'
      accessToken: string
      refreshToken: string
      expiresAtMs: number
      username: string
      /** When the session itself ends. */
      sessionExpiresAt: string
      /**
       * The key that the session is bound to. It lies beside the tokens, so whoever reads this file has both: what it keeps off is the use of a
       * token that got out alone, from a log, a proxy or a memory dump.
       */
      deviceKey?: DeviceJwk
    }
  | { kind: 'api-key'; apiKey: string }

/** What the command line remembers for one server and person. */
export interface Profile {
  server?: string
  allowHttp?: boolean
  credentials?: StoredCredentials
  /** The default project. */
  project?: { id: string; name: string }
  /** By which the server knows this device at later logins; no credential. */
  deviceToken?: string
}

export interface ProfileFile {
  readonly name: string
  readonly path: string
  /** An absent file is an empty profile. Refuses a file that others may have read. */
  read(): Promise<Profile>
  /** Replaces the file under its lock, atomically, with mode 0600. */
  update(change: (profile: Profile) => Profile | Promise<Profile>): Promise<Profile>
  /** Runs `work` while no other process changes the profile; `write` inside it is the only way to change it. */
  withLock<T>(work: (write: (profile: Profile) => Promise<void>) => Promise<T>): Promise<T>
  /** Proves that credentials can be kept, before anyone is asked for them. */
  probe(): Promise<void>
}

/** Opens the profile of that name in the folder of profiles; nothing is touched yet. */
export function openProfile(home: string, name: string): ProfileFile {
  if (!/^[A-Za-z0-9_-]{1,40}$/.test(name)) throw usageError('A profile name is 1 to 40 letters, digits, _ or -')
  const path = join(home, `${name}.json`)
  const lockPath = join(home, `${name}.lock`)

  async function withLock<T>(work: (write: (profile: Profile) => Promise<void>) => Promise<T>): Promise<T> {
    await makeHome(home)
    return withFileLock(lockPath, () => work((profile) => writeProfile(path, profile)))
  }

  return {
    name,
    path,
    read: () => readProfile(path),
    withLock,
    update: (change) =>
      withLock(async (write) => {
        const next = await change(await readProfile(path))
        await write(next)
        return next
      }),
    async probe() {
      await readProfile(path)
      await withLock(async () => {
        const probe = join(home, `.${name}.${process.pid}.probe`)
        await writePrivately(probe, 'probe')
        await rm(probe)
      })
    },
  }
}

function refused(message: string, hint?: string): CliError {
  return new CliError('unsafe_credentials_file', 'configuration', message, hint)
}

async function makeHome(home: string): Promise<void> {
  try {
    await mkdir(home, { recursive: true, mode: 0o700 })
    const folder = await lstat(home)
    if (!folder.isDirectory()) throw refused(`${home} is not a folder`)
    requireOwner(home, folder.uid)
    // Whoever may write here could put a profile of their own in place of ours, and receive the password at the next login.
    if (process.platform !== 'win32' && (folder.mode & 0o077) !== 0) await chmod(home, 0o700)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw refused(`The folder ${home} cannot be used: ${messageOf(error)}`, 'Choose another with HIVESYNC_CLI_HOME')
  }
}

function requireOwner(path: string, uid: number): void {
  const own = process.getuid?.()
  if (own !== undefined && uid !== own) throw refused(`${path} belongs to another user`)
}

async function readProfile(path: string): Promise<Profile> {
  let file: FileHandle
  try {
    // A symbolic link could point to a file that somebody else fills.
    file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    if (isCode(error, 'ENOENT')) return {}
    throw refused(`${path} cannot be opened: ${messageOf(error)}`)
  }
  try {
    const { mode, uid, size } = await file.stat()
    requireOwner(path, uid)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw refused(
        `${path} can be read by others (mode 0${(mode & 0o777).toString(8)}): the credentials in it may have been copied`,
        `Close it with: chmod 600 ${path}   then end the session: hivesync logout, and log in again`,
      )
    }
    if (size > 1024 * 1024) throw refused(`${path} is not a profile: it is too large`)
    return parseProfile(path, await file.readFile('utf8'))
  } finally {
    await file.close()
  }
}

async function writeProfile(path: string, profile: Profile): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  await writePrivately(temporary, `${JSON.stringify({ version: 1, ...profile }, null, 2)}\n`)
  await rename(temporary, path)
}

/** A new file that only we can open, on disk before it returns; what a killed process left under the name goes first. */
async function writePrivately(path: string, text: string): Promise<void> {
  await rm(path, { force: true })
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

function parseProfile(path: string, text: string): Profile {
  const broken = refused(`${path} is not a profile of this version`, `Remove it and log in again: rm ${path}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw broken
  }
  if (!isRecord(value) || value.version !== 1) throw broken
  const profile: Profile = {}
  if (typeof value.server === 'string') profile.server = value.server
  if (value.allowHttp === true) profile.allowHttp = true
  const { credentials, project } = value
  if (isRecord(project) && typeof project.id === 'string' && typeof project.name === 'string') {
    profile.project = { id: project.id, name: project.name }
  }
  if (typeof value.deviceToken === 'string') profile.deviceToken = value.deviceToken
  if (credentials !== undefined) {
    if (!isCredentials(credentials)) throw broken
    profile.credentials = credentials
  }
  return profile
}

function isCredentials(value: unknown): value is StoredCredentials {
  if (!isRecord(value)) return false
  if (value.kind === 'api-key') return typeof value.apiKey === 'string'
  const texts = [value.accessToken, value.refreshToken, value.username, value.sessionExpiresAt]
  if (value.kind !== 'session' || typeof value.expiresAtMs !== 'number') return false
  return (
    texts.every((text) => typeof text === 'string') && (value.deviceKey === undefined || isDeviceKey(value.deviceKey))
  )
}

function isDeviceKey(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { kty, crv, x, d } = value
  return kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' && typeof d === 'string'
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

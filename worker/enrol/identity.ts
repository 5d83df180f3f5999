import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type EncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { writeDurably } from '../durable-file.ts'

/** Who this worker is to one server. */
export interface Identity {
  /** The origin it enrolled at. */
  server: string
  workerId: string
  name: string
  keys: EncodedKeyPair
  /** To take the place of `keys`; the server may know them already (see rotate.ts). */
  nextKeys?: EncodedKeyPair
  /** It signs off when it ends, as one of a fleet that comes and goes. */
  ephemeral?: true
}

/** The worker must not start as things are; the message says what to do. */
export class StartRefused extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'StartRefused'
  }
}

const idPattern = /^[A-Za-z0-9_-]{1,64}$/ // protocol/signature.ts: what a key id may hold

export function identityFolder(dataDir: string): string {
  return join(dataDir, 'identity')
}

/**
 * Makes the worker's data folder and, closed to everybody else, the folder of its identity. As root the data folder can be
 * passed (0711): sandboxed git runs as other users in the mirrors below it, by names only the worker knows. Answers the
 * folders above that keep those users out, so that the owner can be told.
 */
export async function makeDataFolder(dataDir: string): Promise<string[]> {
  const isRoot = process.getuid?.() === 0
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await chmod(dataDir, isRoot ? 0o711 : 0o700)
  await mkdir(identityFolder(dataDir), { recursive: true, mode: 0o700 })
  await chmod(identityFolder(dataDir), 0o700)
  const closed: string[] = []
  for (let folder = dirname(dataDir); isRoot && folder !== '/'; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) closed.push(folder)
  }
  return closed
}

/**
 * The stored identity, undefined before enrolment. Throws StartRefused when it belongs to another server (and none that is
 * said to have moved here), cannot be understood, or could have been read by others on this machine (the private key would
 * no longer be private).
 */
export async function findIdentity(
  dataDir: string,
  server: string,
  movedFrom: string | null = null,
): Promise<Identity | undefined> {
  const path = join(identityFolder(dataDir), 'identity.json')
  let text: string
  try {
    if (((await stat(path)).mode & 0o077) !== 0) {
      throw new StartRefused(
        `${path} can be read by others: enrol this worker anew, or chmod 600 it if that is harmless`,
      )
    }
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  const identity = parseIdentity(text)
  if (identity === undefined) throw new StartRefused(`${path} is damaged: remove it and enrol this worker anew`)
  // Signing for another server would let that one use this worker's requests, and the other way round.
  if (identity.server !== server && identity.server !== movedFrom) {
    throw new StartRefused(
      `This data folder belongs to a worker of ${identity.server}, not of ${server}. If that is the same server at a new address, start once with HIVESYNC_WORKER_MOVED_FROM=${identity.server}; if it is another server, set HIVESYNC_WORKER_DATA to another folder`,
    )
  }
  return identity
}

/** Stores the identity so that it survives a crash right after; the file is 0600. */
export async function storeIdentity(dataDir: string, identity: Identity): Promise<void> {
  await writeDurably(join(identityFolder(dataDir), 'identity.json'), `${JSON.stringify(identity)}\n`)
}

export async function removeIdentity(dataDir: string): Promise<void> {
  await rm(join(identityFolder(dataDir), 'identity.json'), { force: true })
}

function parseIdentity(text: string): Identity | undefined {
  try {
    const { server, workerId, name, keys, nextKeys, ephemeral } = JSON.parse(text) as Partial<Record<string, unknown>>
    if (typeof server !== 'string' || typeof workerId !== 'string' || typeof name !== 'string') return undefined
    if (!idPattern.test(workerId)) return undefined
    const identity = {
      server,
      workerId,
      name,
      keys: readKeys(keys),
      ...(ephemeral === true && { ephemeral: true as const }),
    }
    return nextKeys === undefined ? identity : { ...identity, nextKeys: readKeys(nextKeys) }
  } catch (error) {
    // JSON.parse, and the key import for halves that do not fit.
    if (error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError) return undefined
    throw error
  }
}

function readKeys(value: unknown): EncodedKeyPair {
  const { publicKey, privateKey } = (value ?? {}) as Partial<Record<string, unknown>>
  if (typeof publicKey !== 'string' || typeof privateKey !== 'string') throw new TypeError('no keys')
  importPrivateKey({ publicKey, privateKey })
  return { publicKey, privateKey }
}

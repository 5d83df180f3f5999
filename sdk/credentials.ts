import { refresh, type Session, type Tokens } from '@hivesync/contracts/sessions.ts'
import { type DeviceKey, issuerOf } from './device-key.ts'
import { HiveSyncError } from './error.ts'
import { readReply } from './reply.ts'
import { prepareRequest } from './request.ts'
import type { ServerAddress } from './server-address.ts'
import { send, type Transport } from './transport.ts'

export interface TokenPair {
  accessToken: string
  refreshToken: string
  /** Epoch milliseconds by this machine's clock. */
  expiresAtMs: number
}

/** Where a session's tokens live; several processes may share one. */
export interface TokenStore {
  load(): Promise<TokenPair | undefined>
  save(tokens: TokenPair): Promise<void>
  /** Runs `work` while no other process refreshes. */
  withLock<T>(work: () => Promise<T>): Promise<T>
}

export type Credentials =
  | { kind: 'api-key'; apiKey: string }
  /** With a device key every refresh is proved by it, and the first one binds the session to it. */
  | { kind: 'session'; store: TokenStore; deviceKey?: DeviceKey | undefined }

/** The bearer for the next request, and what to do when the server calls it expired. */
export interface Bearer {
  current(): Promise<string | undefined>
  /** The successor of a token that was refused; undefined when there is none to be had. */
  renew(refused: string): Promise<string | undefined>
  refreshSession(): Promise<Session>
}

/** A token this close to its end may die on the way to the server. */
const marginMs = 10_000
/** The server answers a repeated refresh alike for 10 s (requirement A5): two tries must fit in. */
const refreshTimeoutMs = 4000

export interface BearerOptions {
  server: ServerAddress
  transport: Transport
  now: () => number
}

export function toTokenPair(
  reply: { accessToken: string; refreshToken: string; expiresIn: number },
  nowMs: number,
): TokenPair {
  const { accessToken, refreshToken, expiresIn } = reply
  return { accessToken, refreshToken, expiresAtMs: nowMs + expiresIn * 1000 }
}

/**
 * Hands out the bearer. Calls that find the token expired at the same time share one refresh, and before it asks the server
 * it reads the store again: another process may have refreshed since, and a refresh token used twice ends the session.
 */
export function createBearer(credentials: Credentials | undefined, options: BearerOptions): Bearer {
  if (credentials?.kind !== 'session') {
    const apiKey = credentials?.apiKey
    return {
      current: async () => apiKey,
      renew: async () => undefined,
      refreshSession: () => Promise.reject(noSession()),
    }
  }
  const { store, deviceKey } = credentials
  let known: TokenPair | undefined
  let refreshing: Promise<TokenPair> | undefined

  const isFresh = (tokens: TokenPair): boolean => tokens.expiresAtMs - options.now() > marginMs

  async function refreshOnce(refused: string | undefined): Promise<TokenPair> {
    return store.withLock(async () => {
      const stored = await store.load()
      if (stored === undefined) throw noSession()
      if (stored.accessToken !== refused && isFresh(stored)) return stored
      const next = toTokenPair(await requestTokens(stored, deviceKey, options), options.now())
      await store.save(next)
      return next
    })
  }

  async function refreshSession(): Promise<Session> {
    return store.withLock(async () => {
      const stored = await store.load()
      if (stored === undefined) throw noSession()
      const reply = await requestTokens(stored, deviceKey, options)
      known = toTokenPair(reply, options.now())
      await store.save(known)
      return reply.session
    })
  }

  async function shareRefresh(refused: string | undefined): Promise<string> {
    refreshing ??= refreshOnce(refused).finally(() => {
      refreshing = undefined
    })
    known = await refreshing
    return known.accessToken
  }

  return {
    async current() {
      if (known === undefined || !isFresh(known)) known = await store.load()
      if (known === undefined) throw noSession()
      return isFresh(known) ? known.accessToken : shareRefresh(undefined)
    },
    async renew(refused) {
      // Another call may have renewed while this one was under way.
      if (known !== undefined && known.accessToken !== refused && isFresh(known)) return known.accessToken
      return shareRefresh(refused)
    },
    refreshSession,
  }
}

function noSession(): HiveSyncError {
  return new HiveSyncError('not_logged_in', { title: 'There is no session' })
}

async function requestTokens(stored: TokenPair, deviceKey: DeviceKey | undefined, options: BearerOptions) {
  if (deviceKey === undefined) return requestTwice(stored.refreshToken, undefined, options)
  const proveFor = (address: string) => () =>
    deviceKey.prove({ method: refresh.method, url: `${address}${refresh.path}`, token: stored.refreshToken })
  // Proofs name the server's public address, which need not be the one that it is reached by.
  const address = issuerOf(stored.accessToken) ?? options.server
  try {
    return await requestTwice(stored.refreshToken, proveFor(address), options)
  } catch (error) {
    if (!isProofRefusal(error) || address === options.server) throw error
    // It may have got another public address since: then most likely the one by which it was found.
    return requestTwice(stored.refreshToken, proveFor(options.server), options).catch((second: unknown) => {
      throw isProofRefusal(second) ? error : second
    })
  }
}

function isProofRefusal(error: unknown): boolean {
  return error instanceof HiveSyncError && error.code === 'invalid_device_proof'
}

/** One refresh, sent again with the same token when the reply is lost. */
async function requestTwice(refreshToken: string, prove: (() => Promise<string>) | undefined, options: BearerOptions) {
  const request = prepareRequest(options.server, refresh, { body: { refreshToken } })
  const attempt = async () => {
    // A proof works once: each try makes its own.
    const proof = await prove?.()
    const response = await send(options.transport, request, {
      timeout: AbortSignal.timeout(refreshTimeoutMs),
      ...(proof === undefined ? {} : { headers: { dpop: proof } }),
    })
    return (await readReply(refresh, response, 64 * 1024)) as Tokens
  }
  try {
    return await attempt()
  } catch (error) {
    const lost = error instanceof HiveSyncError && (error.code === 'unreachable' || error.code === 'timed_out')
    if (!lost) throw error
    return attempt()
  }
}

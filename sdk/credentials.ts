import { refresh, type Tokens } from '@hivesync/contracts/sessions.ts'
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

export type Credentials = { kind: 'api-key'; apiKey: string } | { kind: 'session'; store: TokenStore }

/** The bearer for the next request, and what to do when the server calls it expired. */
export interface Bearer {
  current(): Promise<string | undefined>
  /** The successor of a token that was refused; undefined when there is none to be had. */
  renew(refused: string): Promise<string | undefined>
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
  if (credentials === undefined) return { current: async () => undefined, renew: async () => undefined }
  if (credentials.kind === 'api-key') return { current: async () => credentials.apiKey, renew: async () => undefined }
  const { store } = credentials
  let known: TokenPair | undefined
  let refreshing: Promise<TokenPair> | undefined

  const isFresh = (tokens: TokenPair): boolean => tokens.expiresAtMs - options.now() > marginMs

  async function refreshOnce(refused: string | undefined): Promise<TokenPair> {
    return store.withLock(async () => {
      const stored = await store.load()
      if (stored === undefined) throw new HiveSyncError('not_logged_in', { title: 'There is no session' })
      if (stored.accessToken !== refused && isFresh(stored)) return stored
      const next = toTokenPair(await requestTokens(stored.refreshToken, options), options.now())
      await store.save(next)
      return next
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
      if (known === undefined) throw new HiveSyncError('not_logged_in', { title: 'There is no session' })
      return isFresh(known) ? known.accessToken : shareRefresh(undefined)
    },
    async renew(refused) {
      // Another call may have renewed while this one was under way.
      if (known !== undefined && known.accessToken !== refused && isFresh(known)) return known.accessToken
      return shareRefresh(refused)
    },
  }
}

async function requestTokens(refreshToken: string, options: BearerOptions) {
  const request = prepareRequest(options.server, refresh, { body: { refreshToken } })
  const attempt = async () => {
    const response = await send(options.transport, request, { timeout: AbortSignal.timeout(refreshTimeoutMs) })
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

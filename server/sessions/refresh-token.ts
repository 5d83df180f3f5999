import type { Context } from '../platform/context.ts'
import { sha256Base64url, sha256Hex } from '../platform/crypto/hash.ts'
import type { Keyring } from '../platform/crypto/keyring.ts'

/**
 * `hsr_<session id>.<counter>.<seed>.<mac>`. The first seed is random, each further one an HMAC of the token before it: the
 * successor of a token can be made again and nothing is kept in clear. The MAC tells a token we gave out, which may end its
 * session when it is used again, from one that a stranger made up around a session's id.
 */
const pattern =
  /^(hsr_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(0|[1-9][0-9]{0,14})\.[A-Za-z0-9_-]{43})\.(v1\.[A-Za-z0-9_-]{8}\.[A-Za-z0-9_-]{43})$/

export interface RefreshToken {
  readonly text: string
  /** How it is stored and looked up. */
  readonly hash: string
  readonly sessionId: string
  readonly counter: number
  readonly body: string
  readonly mac: string
}

/** Reads a token's parts; undefined when it has another form. Proves nothing. */
export function parseRefreshToken(text: string): RefreshToken | undefined {
  const [, body, sessionId, counter, mac] = pattern.exec(text) ?? []
  if (body === undefined || sessionId === undefined || mac === undefined) return undefined
  return { text, hash: sha256Hex(text), sessionId, counter: Number(counter), body, mac }
}

/** The token a session begins with. */
export function firstRefreshToken(ctx: Context, sessionId: string): string {
  return assemble(ctx.keyring, sessionId, 0, ctx.random.token(32))
}

/** The token that follows: the same each time it is asked for, as long as the newest secret of the keyring stays. */
export function successorOf(keyring: Keyring, token: RefreshToken): string {
  const seed = sha256Base64url(keyring.mac('refresh', `successor\n${token.text}`))
  return assemble(keyring, token.sessionId, token.counter + 1, seed)
}

/** Whether we made this token, with any secret of the keyring. */
export function isGenuine(keyring: Keyring, token: RefreshToken): boolean {
  return keyring.verifyMac('refresh', `token\n${token.body}`, token.mac)
}

function assemble(keyring: Keyring, sessionId: string, counter: number, seed: string): string {
  const body = `hsr_${sessionId}.${counter}.${seed}`
  return `${body}.${keyring.mac('refresh', `token\n${body}`)}`
}

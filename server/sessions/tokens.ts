import type { Session, Tokens } from '@hivesync/contracts/sessions.ts'
import type { Account } from '../accounts/accounts.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { signAccessToken } from '../platform/crypto/token-signer.ts'
import type { SessionRow } from './queries.ts'
import { getAccessTokenKeys } from './signing-keys.ts'

export const tokenAudience = 'hivesync'

/** A new access token beside the given refresh token; it never outlives the session. */
export async function issueTokens(
  ctx: Context,
  account: Account,
  session: SessionRow,
  refreshToken: string,
): Promise<Tokens> {
  const { current } = await getAccessTokenKeys(ctx)
  const iat = Math.floor(ctx.clock.now() / 1000)
  const exp = Math.min(iat + ctx.config.accessTokenSeconds, Math.floor(session.expiresAt / 1000))
  const accessToken = await signAccessToken(current, {
    iss: ctx.config.publicUrl,
    aud: tokenAudience,
    sub: account.id,
    sid: session.id,
    ver: account.tokenVersion,
    jti: ctx.random.id(),
    iat,
    nbf: iat,
    exp,
    username: account.username,
    role: account.adminSince === null ? 'user' : 'admin',
  })
  return {
    accessToken,
    tokenType: 'Bearer',
    expiresIn: exp - iat,
    refreshToken,
    session: toSession(session, session.id),
  }
}

export function toSession(row: SessionRow, currentId: string | null): Session {
  return {
    id: row.id,
    current: row.id === currentId,
    deviceName: row.deviceName,
    methods: JSON.parse(row.amr),
    deviceBound: row.deviceKey !== null,
    userAgent: row.userAgent,
    ip: row.ip,
    createdAt: isoTime(row.createdAt),
    lastSeenAt: isoTime(row.lastSeenAt),
    expiresAt: isoTime(row.expiresAt),
  }
}

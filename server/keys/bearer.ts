import type { Identity } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { createTokenAuthenticator } from '../sessions/sessions.ts'
import { createKeyAuthenticator } from './authenticate.ts'

export interface BearerAuthenticator {
  (bearer: string): Identity | Promise<Identity>
  /** Resolves when the times of last use noted so far are written: for a graceful stop. */
  settled(): Promise<void>
}

/** Authenticates what follows `Bearer`: an access token (a JWT) or an API key. One per context: it keeps what it has verified. */
export function createBearerAuthenticator(ctx: Context): BearerAuthenticator {
  const byToken = createTokenAuthenticator(ctx)
  const byKey = createKeyAuthenticator(ctx)
  return Object.assign((bearer: string) => (isJwtLike(bearer) ? byToken(bearer) : byKey(bearer)), {
    async settled() {
      await Promise.all([byToken.marks.settled(), byKey.marks.settled()])
    },
  })
}

/** Three parts, the first of which begins as every JSON object does in base64url. */
export function isJwtLike(bearer: string): boolean {
  return /^eyJ[^.]*\.[^.]*\.[^.]*$/.test(bearer)
}

import type { Login } from '@hivesync/contracts/sessions.ts'
import {
  type Account,
  findAccountByLogin,
  getUser,
  lockVerifiedAccount,
  setLogin,
  upgradePasswordHash,
  verifyPassword,
} from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { AppError } from '../platform/errors.ts'
import { insertSession } from './queries.ts'
import { firstRefreshToken } from './refresh-token.ts'
import { issueTokens } from './tokens.ts'

const dayMs = 24 * 60 * 60 * 1000
/** NIST SP 800-63B-4 §2.1.3: 30 days overall where one factor suffices. Activity does not extend it. */
const sessionLifetimeMs = 30 * dayMs
/** Without a refresh for this long the session is over. */
export const idleLifetimeMs = 7 * dayMs
const maxUserAgentLength = 200

/**
 * Starts a session. Whether the account is unknown, deactivated or without a password, or the password is wrong: the
 * answer, the hashing and the rows written are the same (ASVS 6.3.8).
 */
export async function logIn(
  ctx: Context,
  actor: Actor,
  body: { login: string; password: string; device?: { name: string } },
  userAgent: string | undefined,
): Promise<Login> {
  const account = await findAccountByLogin(ctx.db.kysely, body.login)
  const stored = account === undefined || account.deactivatedAt !== null ? null : account.passwordHash
  const isRight = await verifyPassword(ctx, stored, body.password)
  if (account === undefined || stored === null || !isRight) return refuseLogin(ctx, actor, account)

  const upgraded = await upgradePasswordHash(ctx, stored, body.password)
  const device = { deviceName: body.device?.name ?? null, userAgent: printable(userAgent) }
  const started = await startSession(ctx, actor, { userId: account.id, stored, upgraded, device })
  // Deactivated, or the password changed, while it was being verified.
  if (started === undefined) return refuseLogin(ctx, actor, account)
  ctx.bus.publish('identity')
  const tokens = await issueTokens(ctx, started.account, started.session, started.refreshToken)
  return { ...tokens, user: started.user }
}

async function refuseLogin(ctx: Context, actor: Actor, account: Account | undefined): Promise<never> {
  // Never the login as typed: people type passwords into that field.
  const target = account === undefined ? undefined : { kind: 'user', id: account.id }
  await ctx.db.transaction((tx) =>
    recordAudit(ctx, tx, actor, { action: 'session.refused', outcome: 'refused', ...(target && { target }) }),
  )
  throw new AppError('invalid_credentials')
}

interface Proof {
  userId: string
  stored: string
  upgraded: string | undefined
  device: { deviceName: string | null; userAgent: string | null }
}

function startSession(ctx: Context, actor: Actor, proof: Proof) {
  const now = ctx.clock.now()
  const id = ctx.random.id()
  const refreshToken = firstRefreshToken(ctx, id)
  return ctx.db.transaction(async (tx) => {
    const account = await lockVerifiedAccount(tx, proof.userId, proof.stored)
    if (account === undefined) return undefined
    await setLogin(tx, account.id, { lastLoginAt: now, ...(proof.upgraded && { passwordHash: proof.upgraded }) })
    const session = await insertSession(tx, {
      id,
      userId: account.id,
      ...proof.device,
      ip: actor.ip,
      createdAt: now,
      lastSeenAt: now,
      expiresAt: now + sessionLifetimeMs,
      idleExpiresAt: now + idleLifetimeMs,
      refreshCounter: 0,
      refreshHash: sha256Hex(refreshToken),
      rotatedAt: now,
    })
    const person: Actor = { ...actor, kind: 'user', id: account.id, userId: account.id, sessionId: id }
    await recordAudit(ctx, tx, person, { action: 'session.started', target: { kind: 'session', id } })
    return { account, session, refreshToken, user: await getUser(tx, account.id) }
  })
}

function printable(userAgent: string | undefined): string | null {
  const text = userAgent?.replace(/\p{Cc}/gu, '').slice(0, maxUserAgentLength)
  return text === undefined || text === '' ? null : text
}

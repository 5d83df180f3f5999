import type { Login } from '@hivesync/contracts/sessions.ts'
import { lockAccount } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { challengePasskey, type FactorAttempt, proveFactor } from '../mfa/mfa.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { endOneTimeToken, findOneTimeToken, type OneTimeToken, tryOneTimeToken } from '../platform/one-time-tokens.ts'
import { revoking } from '../platform/revocation.ts'
import { type Client, finishLogin, isStillProved, mfaPurpose, requireVerifiedEmail, startSession } from './gate.ts'

/**
 * The gate's second half: the second factor of a pending login. A pending login is no session and opens nothing but this; it allows five
 * tries, right or wrong, and wrong codes slow down all pending logins of the account, so that starting anew gains nothing.
 */
export async function completeMfa(
  ctx: Context,
  actor: Actor,
  body: FactorAttempt & { mfaToken: string },
  deviceKey: string | null,
): Promise<Login> {
  const tried = await ctx.db.transaction((tx) => tryOneTimeToken(ctx, tx, mfaPurpose, body.mfaToken))
  const userId = tried?.userId ?? null
  if (tried === undefined || userId === null) throw new AppError('invalid_mfa_token')
  const pending = readPending(tried)
  const { known } = pending.client
  // Not every way to sign in has looked whose device it is, and anybody may have as many of their own as they like.
  const from = known?.userId === userId ? { deviceId: known.id } : 'stranger'
  const proven = await proveFactor(ctx, userId, body, { binding: bindingOf(body.mfaToken), from })
  if (proven === undefined) return refuseFactor(ctx, actor, userId, body.method)

  const started = await revoking(ctx, actor, async (tx, revoke) => {
    const account = await lockAccount(tx, userId)
    if (account === undefined || !isStillProved(account, pending)) return 'stale'
    if (!(await endOneTimeToken(tx, tried))) return 'stale'
    // A code that another request used in the same moment: the token is spent all the same.
    if (!(await proven.use(tx))) return 'used'
    requireVerifiedEmail(ctx, account)
    const client = { ...pending.client, deviceKey: deviceKey ?? pending.client.deviceKey }
    return startSession(ctx, tx, revoke, actor, {
      account,
      amr: [...new Set([...pending.amr, ...proven.amr, 'mfa'])],
      client,
    })
  })
  if (started === 'used') return refuseFactor(ctx, actor, userId, body.method)
  if (started === 'stale') throw new AppError('invalid_mfa_token')
  return finishLogin(ctx, started)
}

/** The challenge for a passkey as the second factor. */
export async function startMfaPasskey(ctx: Context, body: { mfaToken: string }) {
  const pending = await findOneTimeToken(ctx, ctx.db.kysely, mfaPurpose, body.mfaToken)
  if (pending === undefined || pending.userId === null) throw new AppError('invalid_mfa_token')
  return challengePasskey(ctx, { userId: pending.userId, sessionId: null, binding: bindingOf(body.mfaToken) })
}

/** The answer to one pending login's challenge completes no other. */
function bindingOf(mfaToken: string): string {
  return `mfa\n${mfaToken}`
}

type Pending = {
  amr: string[]
  passwordFingerprint?: string
  client: Client
}

// The gate wrote it, and nobody else can: the token's row is reached by its hash alone.
function readPending(token: OneTimeToken): Pending {
  return token.data as Pending
}

async function refuseFactor(ctx: Context, actor: Actor, userId: string, method: string): Promise<never> {
  const act = { action: 'session.mfa_refused', outcome: 'refused', target: { kind: 'user', id: userId } } as const
  await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, { ...act, details: { method } }))
  throw new AppError('invalid_code')
}

import { operations } from '@hivesync/contracts/operations.ts'
import { findAccountWithPassword, lockAccount, verifyPassword } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Base64url } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import type { SensitiveAct } from '../platform/http/guard.ts'
import { type FailureRule, forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { issueOneTimeToken, type OneTimeToken, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { hasSecondFactor, listMfaMethods, type MfaMethod, type ProvenFactor } from './factors.ts'
import { challengePasskey } from './passkeys.ts'
import { type FactorAttempt, proveFactor } from './prove.ts'
import { isSessionOpen } from './queries.ts'

const purpose = 'step-up'
const ttlMs = 5 * 60_000
/** Wrong passwords in one session before each further one costs a wait. */
const freePasswords = 10

type StepUpMethod = MfaMethod | 'password'
interface ActBody {
  operation: string
  params?: Record<string, string>
  bodyDigest?: string
}

/** Wrong passwords of a session are counted together, whatever asks for it, and apart from every other: whoever stole one keeps nobody out of the rest. */
export function passwordRule(sessionId: string): FailureRule {
  return { key: `step-up\n${sessionId}`, free: freePasswords }
}

/** How the person may prove themselves for this act; the challenge of a passkey is made for this act and no other. */
export async function startStepUp(ctx: Context, actor: Actor, body: ActBody) {
  const { userId, sessionId } = requireSession(actor)
  const act = readAct(body)
  const methods = await methodsOf(ctx.db.kysely, userId)
  const passkey = methods.includes('passkey')
    ? await challengePasskey(ctx, { userId, sessionId, binding: digestOf(sessionId, act) })
    : null
  return { methods, passkey }
}

/**
 * Gives a proof for one sensitive act (requirement A8): bound to the session, the operation, its parameters and its body, good once and for
 * five minutes. Who has a second factor proves that one: a password alone may be what was stolen.
 */
export async function stepUp(
  ctx: Context,
  actor: Actor,
  body: ActBody & Omit<FactorAttempt, 'method'> & { method: StepUpMethod; password?: string },
): Promise<{ stepUpToken: string; expiresAt: string }> {
  const { userId, sessionId } = requireSession(actor)
  const act = readAct(body)
  const digest = digestOf(sessionId, act)
  const isOffered = (await methodsOf(ctx.db.kysely, userId)).includes(body.method)
  const proven = isOffered ? await prove(ctx, { userId, sessionId }, body, digest) : undefined
  const details = { operation: act.operation, method: body.method }
  const target = { kind: 'user', id: userId }
  const stepUpToken = await ctx.db.transaction(async (tx) => {
    if (proven === undefined || !(await proven.use(tx))) {
      await recordAudit(ctx, tx, actor, { action: 'session.step_up_refused', outcome: 'refused', target, details })
      return undefined
    }
    await recordAudit(ctx, tx, actor, { action: 'session.stepped_up', target, details })
    return issueOneTimeToken(ctx, tx, { purpose, userId, sessionId, ttlMs, data: { digest } })
  })
  if (stepUpToken === undefined) throw new AppError('step_up_failed')
  return { stepUpToken, expiresAt: isoTime(ctx.clock.now() + ttlMs) }
}

/** Spends the proof of a sensitive act; refuses with `step_up_required` when it is missing, spent, expired or for anything else. */
export async function spendStepUp(
  ctx: Context,
  actor: Actor,
  act: SensitiveAct,
  proof: string | undefined,
): Promise<void> {
  const { sessionId } = actor
  if (actor.kind !== 'user' || sessionId === null)
    throw new AppError('permission_denied', {}, { detail: 'Only a person, signed in, can do this' })
  const spent = proof === undefined ? undefined : await ctx.db.transaction((tx) => spend(ctx, tx, sessionId, proof))
  if (spent?.sessionId === sessionId && spent.data.digest === digestOf(sessionId, act)) return
  throw new AppError(
    'step_up_required',
    {},
    { detail: 'POST /api/v1/auth/step-up gives a proof for the header Step-Up' },
  )
}

/** The session was looked at before the body was read, which may take half a minute: whoever's it was may have ended it since. */
async function spend(ctx: Context, tx: Db, sessionId: string, proof: string): Promise<OneTimeToken | undefined> {
  return (await isSessionOpen(tx, sessionId)) ? spendOneTimeToken(ctx, tx, purpose, proof) : undefined
}

async function prove(
  ctx: Context,
  { userId, sessionId }: { userId: string; sessionId: string },
  body: Omit<FactorAttempt, 'method'> & { method: StepUpMethod; password?: string },
  digest: string,
): Promise<ProvenFactor | undefined> {
  const { method, password } = body
  if (method !== 'password')
    return proveFactor(ctx, userId, { ...body, method }, { binding: digest, from: { sessionId } })
  if (password === undefined) return undefined
  const rule = passwordRule(sessionId)
  await reserveAttempt(ctx, [rule])
  const account = await findAccountWithPassword(ctx.db.kysely, userId)
  const stored = account?.passwordHash ?? null
  if (!(await verifyPassword(ctx, stored, password))) return undefined
  return {
    amr: ['pwd'],
    use: async (tx) => {
      // Changed while it was being verified, or a second factor came: then it proves nothing any more.
      if ((await lockAccount(tx, userId))?.passwordHash !== stored) return false
      if (await hasSecondFactor(tx, userId)) return false
      await forgiveAttempt(ctx, tx, { forget: [rule], uncount: [] })
      return true
    },
  }
}

/** With a second factor only that; without one the password. Nobody without either: the reset or a passkey comes first. */
async function methodsOf(db: Db, userId: string): Promise<StepUpMethod[]> {
  if (await hasSecondFactor(db, userId)) return listMfaMethods(db, userId)
  const account = await findAccountWithPassword(db, userId)
  return account?.passwordHash == null ? [] : ['password']
}

function readAct(body: ActBody): SensitiveAct {
  const { operation, params = {}, bodyDigest = null } = body
  if (operations.get(operation)?.stepUp !== true) throw new AppError('invalid_operation', { name: operation })
  return { operation, params, bodyDigest }
}

/** One text for one act in one session. */
function digestOf(sessionId: string, act: SensitiveAct): string {
  const params = Object.entries(act.params).sort(([a], [b]) => (a < b ? -1 : 1))
  return sha256Base64url(JSON.stringify([sessionId, act.operation, params, act.bodyDigest]))
}

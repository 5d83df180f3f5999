import type { Factor } from '@hivesync/contracts/mfa.ts'
import { findAccount, lockAccount } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { findTotpStep, presentTotp } from '../platform/crypto/totp.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { type FailureRule, forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { hasSecondFactor, type ProvenFactor, settleFactorChange, toFactor } from './factors.ts'
import { noticeGuessing } from './guessing-notice.ts'
import {
  confirmTotpFactor,
  countFactorFailure,
  deleteFactor,
  deletePendingTotp,
  insertFactor,
  listFactorSecrets,
  useTotpStep,
} from './queries.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'

const issuer = 'HiveSync'
const secretBytes = 20 // RFC 4226 §4 R6 recommends 160 bits
/** A setup that was begun is finished within this time. */
const setupTtlMs = 15 * 60_000
/** Wrong codes before each further one costs a wait. */
const freeCodes = 10
/** NIST SP 800-63B-4 §3.2.2: no more in a row, or the factor is disabled; here for strangers alone. */
const maxConsecutiveCodes = 100
const placeOf = (factorId: string) => `factors:${factorId}`

/** Begins the setup of an authenticator app, in the place of one begun before; the factor counts once a code of it was confirmed. */
export async function startTotp(ctx: Context, actor: Actor, name: string): Promise<{ secret: string; uri: string }> {
  const { userId } = requireSession(actor)
  const id = ctx.random.id()
  const secret = ctx.random.bytes(secretBytes)
  const account = await findAccount(ctx.db.kysely, userId)
  await ctx.db.transaction(async (tx) => {
    if ((await lockAccount(tx, userId)) === undefined) throw new AppError('user_not_found')
    const existing = await listFactorSecrets(tx, userId, 'totp')
    if (existing.some((factor) => factor.confirmedAt !== null)) throw new AppError('factor_exists')
    await deletePendingTotp(tx, userId)
    const sealedSecret = ctx.keyring.seal('seal', secret, placeOf(id))
    await insertFactor(tx, { id, userId, kind: 'totp', name, sealedSecret, createdAt: ctx.clock.now() })
    await recordAudit(ctx, tx, actor, { action: 'factor.setup_started', target: { kind: 'factor', id } })
  })
  return presentTotp(issuer, account?.username ?? userId, secret)
}

/** Finishes the setup; the code that proves it is used with that. With a person's first factor come recovery codes. */
export async function confirmTotp(
  ctx: Context,
  actor: Actor,
  code: string,
): Promise<{ factor: Factor; recoveryCodes: string[] | null }> {
  const { userId } = requireSession(actor)
  const now = ctx.clock.now()
  const rows = await listFactorSecrets(ctx.db.kysely, userId, 'totp')
  const pending = rows.find((factor) => factor.confirmedAt === null && now - factor.createdAt < setupTtlMs)
  if (pending === undefined) throw new AppError('factor_not_found', {}, { detail: 'Begin the setup anew' })
  const rule = { key: `totp setup\n${pending.id}`, free: freeCodes }
  await reserveAttempt(ctx, [rule])
  const step = findTotpStep(openSecret(ctx, pending), code, now)
  if (step === undefined) throw new AppError('invalid_code')
  try {
    return await ctx.db.transaction(async (tx) => {
      if ((await lockAccount(tx, userId)) === undefined) throw new AppError('user_not_found')
      const isFirst = !(await hasSecondFactor(tx, userId))
      if (!(await confirmTotpFactor(tx, pending.id, step, now))) throw new AppError('factor_not_found')
      await forgiveAttempt(ctx, tx, { forget: [rule], uncount: [] })
      const recoveryCodes = isFirst ? await makeRecoveryCodes(ctx, tx, userId) : null
      const said = 'An authenticator app was added to your account.'
      await settleFactorChange(ctx, tx, actor, { action: 'factor.added', kind: 'totp', factorId: pending.id, said })
      return { factor: toFactor(pending), recoveryCodes }
    })
  } catch (error) {
    if (isUniqueViolation(error) !== undefined) throw new AppError('factor_exists')
    throw error
  } finally {
    ctx.bus.publish('identity')
  }
}

export async function removeTotp(ctx: Context, actor: Actor): Promise<void> {
  const { userId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    if ((await lockAccount(tx, userId)) === undefined) throw new AppError('user_not_found')
    await deletePendingTotp(tx, userId)
    if (!(await deleteFactor(tx, userId, 'totp'))) throw new AppError('factor_not_found')
    const said = 'The authenticator app was removed from your account.'
    await settleFactorChange(ctx, tx, actor, { action: 'factor.removed', kind: 'totp', said })
  })
  ctx.bus.publish('identity')
}

/**
 * Where a code comes from. Strangers, who may know the password, are counted together and may try 100 codes in a row; the person's own
 * known devices and sessions each have waits of their own, so that strangers cannot keep the person out of them.
 */
export type CodeSource = { readonly deviceId: string } | { readonly sessionId: string } | 'stranger'

/**
 * Whether the code is one of the person's app, of a time step that was not used yet. The attempt is counted as wrong before it is checked;
 * throws `login_throttled` while there is a wait, which no new pending login shortens.
 */
export async function proveTotp(
  ctx: Context,
  userId: string,
  code: string,
  from: CodeSource,
): Promise<ProvenFactor | undefined> {
  const rows = await listFactorSecrets(ctx.db.kysely, userId, 'totp')
  const factor = rows.find((row) => row.confirmedAt !== null)
  if (factor === undefined) return undefined
  const rule = ruleFor(factor.id, from)
  await reserveAttempt(ctx, [rule])
  if (from === 'stranger' && !(await mayStrangerTry(ctx, userId, factor.id))) return undefined
  const now = ctx.clock.now()
  const step = findTotpStep(openSecret(ctx, factor), code, now)
  if (step === undefined || (factor.lastStep !== null && step <= factor.lastStep)) return undefined
  return {
    amr: ['otp'],
    use: async (tx) => {
      if (!(await useTotpStep(tx, factor.id, step, now))) return false
      await forgiveAttempt(ctx, tx, { forget: [rule], uncount: [] })
      return true
    },
  }
}

function ruleFor(factorId: string, from: CodeSource): FailureRule {
  const who =
    from === 'stranger' ? from : 'deviceId' in from ? `device\n${from.deviceId}` : `session\n${from.sessionId}`
  return { key: `totp\n${factorId}\n${who}`, free: freeCodes }
}

/** Counts a stranger's attempt, and tells the person when it begins to look like guessing, and when the app is closed to strangers. */
async function mayStrangerTry(ctx: Context, userId: string, factorId: string): Promise<boolean> {
  return ctx.db.transaction(async (tx) => {
    const failures = await countFactorFailure(tx, factorId, maxConsecutiveCodes)
    if (failures === freeCodes || failures === maxConsecutiveCodes) await noticeGuessing(ctx, tx, userId, failures)
    return failures !== undefined
  })
}

function openSecret(ctx: Context, factor: { id: string; sealedSecret: string | null }): Uint8Array {
  if (factor.sealedSecret === null) throw new Error('a TOTP factor without a secret')
  return ctx.keyring.open('seal', factor.sealedSecret, placeOf(factor.id))
}

import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { type FailureRule, forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { requireLiveSession } from '../sessions/sessions.ts'
import { findByUserCode, getSessionMethods, setDecided } from './queries.ts'
import { hashUserCode } from './user-code.ts'

/** A code mistyped this often costs a wait: with all others open at once, guessing one in ten minutes stays hopeless. */
const freePerPerson = 10

/** What asks to be let in with this code. */
export async function getDeviceLogin(ctx: Context, actor: Actor, userCode: string) {
  const { userId } = requireSession(actor)
  const rule = await reserve(ctx, userId)
  const row = await findByUserCode(ctx.db.kysely, hashUserCode(userCode), ctx.clock.now())
  if (row === undefined) throw new AppError('invalid_user_code')
  await ctx.db.transaction((tx) => forgiveAttempt(ctx, tx, { forget: [], uncount: [rule] }))
  const { deviceName, ip } = row
  return { deviceName, ip, createdAt: isoTime(row.createdAt), expiresAt: isoTime(row.expiresAt) }
}

/** Lets the device in as the person of this session, with the methods that the session itself was proved with, unless the session is taken away before the device comes. */
export function approveDeviceLogin(ctx: Context, actor: Actor, userCode: string): Promise<void> {
  return decide(ctx, actor, userCode, 'approved')
}

export function denyDeviceLogin(ctx: Context, actor: Actor, userCode: string): Promise<void> {
  return decide(ctx, actor, userCode, 'denied')
}

async function decide(ctx: Context, actor: Actor, userCode: string, decision: 'approved' | 'denied'): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  const rule = await reserve(ctx, userId)
  const now = ctx.clock.now()
  const approvedAt = decision === 'approved' ? now : null
  await ctx.db.transaction(async (tx) => {
    await requireLiveSession(ctx, tx, actor)
    const { amr } = await getSessionMethods(tx, sessionId)
    const decided = await setDecided(tx, hashUserCode(userCode), now, { userId, sessionId, amr, approvedAt })
    if (decided === undefined) throw new AppError('invalid_user_code')
    await forgiveAttempt(ctx, tx, { forget: [], uncount: [rule] })
    const target = { kind: 'device_login', id: decided.id }
    await recordAudit(ctx, tx, actor, { action: `device_login.${decision}`, target })
  })
}

async function reserve(ctx: Context, userId: string): Promise<FailureRule> {
  const rule = { key: `user code\n${userId}`, free: freePerPerson }
  await reserveAttempt(ctx, [rule])
  return rule
}

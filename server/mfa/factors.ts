import type { Factor } from '@hivesync/contracts/mfa.ts'
import { findAccount, isPasswordShort, noticeCredentialChange } from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { revokeOneTimeTokens } from '../platform/one-time-tokens.ts'
import { countRecoveryCodes, deleteRecoveryCodes, type FactorRow, isSessionOpen, listFactorRows } from './queries.ts'

/** Logins, challenges and proofs that are under way: worthless once how the person signs in, or whether, has changed. */
export const pendingPurposes = ['mfa', 'step-up', 'passkey', 'passkey-registration']

export type MfaMethod = 'totp' | 'recovery' | 'passkey'

/** A factor that was proved but not yet used. */
export interface ProvenFactor {
  /** RFC 8176 methods. */
  readonly amr: readonly string[]
  /** Uses it, in the transaction of what it is proved for; false when it was used meanwhile, and nothing may come of it. */
  use(tx: Db): Promise<boolean>
}

/** How the person can prove a second factor; empty when there is none. Recovery codes stand in for factors and are none themselves. */
export async function listMfaMethods(db: Db, userId: string): Promise<MfaMethod[]> {
  const kinds = new Set((await listFactorRows(db, userId)).map((factor) => factor.kind))
  if (kinds.size === 0) return []
  const methods = (['totp', 'passkey'] as const).filter((kind) => kinds.has(kind))
  return (await countRecoveryCodes(db, userId)) > 0 ? [...methods, 'recovery'] : methods
}

/** Whether the person has a second factor, of a kind that this version knows or not: then passwords may be shorter, and every login is asked for one. */
export async function hasSecondFactor(db: Db, userId: string): Promise<boolean> {
  return (await listFactorRows(db, userId)).length > 0
}

/**
 * What follows every change of a person's factors, in its transaction: pending logins that were let in under the old ones are worthless, the
 * change is audited and its owner told (ASVS 6.3.7). Refuses with `session_revoked` when the session was ended meanwhile: its owner must find
 * nothing of an intruder's afterwards that was under way. Without any factor left the recovery codes go too, and a password that was only
 * good beside one refuses the change (requirement A2).
 */
export async function settleFactorChange(
  ctx: Context,
  tx: Db,
  actor: Actor,
  change: { action: string; kind: string; factorId?: string; said: string },
): Promise<void> {
  const { userId, sessionId } = requireSession(actor)
  if (!(await isSessionOpen(tx, sessionId))) throw new AppError('session_revoked')
  if (!(await hasSecondFactor(tx, userId))) {
    if (await isPasswordShort(tx, userId)) {
      const detail = 'Change the password to one of at least 15 characters first'
      throw new AppError('password_too_short_alone', {}, { detail })
    }
    await deleteRecoveryCodes(tx, userId)
  }
  await revokeOneTimeTokens(tx, userId, pendingPurposes)
  const target = change.factorId === undefined ? { kind: 'user', id: userId } : { kind: 'factor', id: change.factorId }
  await recordAudit(ctx, tx, actor, { action: change.action, target, details: { kind: change.kind } })
  const account = await findAccount(tx, userId)
  if (account !== undefined) await noticeCredentialChange(ctx, tx, account, actor, change.said)
}

export function toFactor(row: FactorRow): Factor {
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    createdAt: isoTime(row.createdAt),
    lastUsedAt: isoTime(row.lastUsedAt),
  }
}

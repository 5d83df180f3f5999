import type { Factor } from '@hivesync/contracts/mfa.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { toFactor } from './factors.ts'
import { countRecoveryCodes, listFactorRows } from './queries.ts'

export { hasSecondFactor, listMfaMethods, type ProvenFactor, pendingPurposes } from './factors.ts'
export { challengePasskey, provePasskeyLogin } from './passkeys.ts'
export { type FactorAttempt, proveFactor } from './prove.ts'
export { passwordRule, spendStepUp } from './step-up.ts'

/** The person's factors, with how many recovery codes are left. */
export async function listFactors(ctx: Context, actor: Actor): Promise<{ items: Factor[]; recoveryCodesLeft: number }> {
  const { userId } = requireSession(actor)
  const rows = await listFactorRows(ctx.db.kysely, userId)
  return { items: rows.map(toFactor), recoveryCodesLeft: await countRecoveryCodes(ctx.db.kysely, userId) }
}

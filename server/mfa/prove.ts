import type { UsedPasskey } from '@hivesync/contracts/mfa.ts'
import type { Context } from '../platform/context.ts'
import type { MfaMethod, ProvenFactor } from './factors.ts'
import { proveSecondPasskey } from './passkeys.ts'
import { forgiveFactorFailures } from './queries.ts'
import { proveRecoveryCode } from './recovery-codes.ts'
import { type CodeSource, proveTotp } from './totp.ts'

/** What a person sends to prove a second factor. */
export interface FactorAttempt {
  readonly method: MfaMethod
  readonly code?: string
  readonly challengeToken?: string
  readonly credential?: UsedPasskey
}

/**
 * Checks a second factor of the person; undefined when it does not hold. `binding` names what a passkey's challenge was made for. Nothing is
 * used up yet: that is `use`, in the transaction of the effect. Codes of an app are counted and slowed down (`proveTotp`); what nobody can
 * guess is not, so that whoever enters wrong codes keeps nobody out who has a recovery code or a passkey.
 */
export async function proveFactor(
  ctx: Context,
  userId: string,
  attempt: FactorAttempt,
  { binding, from }: { binding: string; from: CodeSource },
): Promise<ProvenFactor | undefined> {
  const proven = await proveMethod(ctx, userId, attempt, { binding, from })
  if (proven === undefined) return undefined
  const { amr } = proven
  return {
    amr,
    use: async (tx) => {
      if (!(await proven.use(tx))) return false
      await forgiveFactorFailures(tx, userId)
      return true
    },
  }
}

async function proveMethod(
  ctx: Context,
  userId: string,
  { method, code, challengeToken, credential }: FactorAttempt,
  { binding, from }: { binding: string; from: CodeSource },
): Promise<ProvenFactor | undefined> {
  if (method === 'passkey') {
    if (challengeToken === undefined || credential === undefined) return undefined
    return proveSecondPasskey(ctx, { userId, binding, challengeToken, credential })
  }
  if (code === undefined) return undefined
  return method === 'totp' ? proveTotp(ctx, userId, code, from) : proveRecoveryCode(ctx, userId, code)
}

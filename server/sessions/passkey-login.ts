import type { UsedPasskey } from '@hivesync/contracts/mfa.ts'
import type { Login } from '@hivesync/contracts/sessions.ts'
import { recordAudit } from '../audit/audit.ts'
import { provePasskeyLogin } from '../mfa/mfa.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { type Client, passGate } from './gate.ts'

/** Made-up passkeys from one source before it is made to wait: their signatures cost us more than them. */
const freePerSource = 50

/** Signs in with a passkey alone: possession of the device and the user verification on it are both factors (requirement A7). */
export async function logInWithPasskey(
  ctx: Context,
  actor: Actor,
  body: { challengeToken: string; credential: UsedPasskey },
  client: Client,
  source: string,
): Promise<Login> {
  const rule = { key: `passkey source\n${source}`, free: freePerSource }
  await reserveAttempt(ctx, [rule])
  const proven = await provePasskeyLogin(ctx, body)
  if (proven !== undefined) {
    const forgive = (tx: Db) => forgiveAttempt(ctx, tx, { forget: [], uncount: [rule] })
    const reply = await passGate(ctx, actor, { ...proven, isMultiFactor: true, forgive }, client)
    if (reply !== undefined && !('mfaRequired' in reply)) return reply
  }
  const target = proven === undefined ? undefined : { kind: 'user', id: proven.userId }
  const details = { method: 'passkey' }
  const act = { action: 'session.refused', outcome: 'refused', details, ...(target && { target }) } as const
  await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
  throw new AppError('invalid_passkey')
}

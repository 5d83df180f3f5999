import { type Actor, requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { hasSecondFactor, type ProvenFactor, settleFactorChange } from './factors.ts'
import { findRecoveryCode, replaceRecoveryCodes, useRecoveryCode } from './queries.ts'

const count = 10
/** Crockford's base 32: no letter that could be read as a digit, none that spells. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const length = 24

/**
 * Ten new codes in the place of all earlier ones, each of 120 random bits in four groups. At that length a plain SHA-256 is storage
 * enough (ASVS 6.5.2 wants a slow hash only below 112 bits), and guessing needs no limit.
 */
export async function makeRecoveryCodes(ctx: Context, tx: Db, userId: string): Promise<string[]> {
  const codes = Array.from({ length: count }, () =>
    Array.from(ctx.random.bytes(length), (byte) => alphabet[byte % alphabet.length]).join(''),
  )
  await replaceRecoveryCodes(tx, userId, codes.map(hashOf), ctx.clock.now())
  return codes.map((code) => code.replace(/(.{6})(?!$)/g, '$1-'))
}

/** Whether the code is one of the person's that was not used. */
export async function proveRecoveryCode(ctx: Context, userId: string, code: string): Promise<ProvenFactor | undefined> {
  const codeHash = hashOf(normalize(code))
  if ((await findRecoveryCode(ctx.db.kysely, userId, codeHash)) === undefined) return undefined
  return {
    // RFC 8176 has no value for it: one of a list that the person keeps.
    amr: ['recovery'],
    use: (tx) => useRecoveryCode(tx, userId, codeHash, ctx.clock.now()),
  }
}

/** New recovery codes in the place of the old ones. */
export async function renewRecoveryCodes(ctx: Context, actor: Actor): Promise<{ recoveryCodes: string[] }> {
  const { userId } = requireSession(actor)
  return ctx.db.transaction(async (tx) => {
    if (!(await hasSecondFactor(tx, userId))) throw new AppError('factor_not_found')
    const recoveryCodes = await makeRecoveryCodes(ctx, tx, userId)
    const said = 'The recovery codes of your account were replaced.'
    await settleFactorChange(ctx, tx, actor, { action: 'factor.recovery_codes_renewed', kind: 'recovery', said })
    return { recoveryCodes }
  })
}

/** As people copy it: case, spaces and hyphens do not count, nor the letters that look like digits. */
function normalize(code: string): string {
  return code.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1')
}

function hashOf(code: string): string {
  return sha256Hex(`recovery\n${code}`)
}

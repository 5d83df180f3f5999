import type { Context } from './context.ts'
import { sha256Hex } from './crypto/hash.ts'
import type { Db } from './db/db.ts'

const prefix = 'hso_'
const pattern = /^hso_[A-Za-z0-9_-]{43}$/

export interface OneTimeToken {
  readonly tokenHash: string
  readonly userId: string | null
  readonly sessionId: string | null
  /** What its maker wrote into it. */
  readonly data: Record<string, unknown>
  readonly attemptsLeft: number
}

/**
 * Makes a secret of 256 random bits that works once, for one purpose, until it expires; stored is its SHA-256. With a user or a
 * session it dies with them. `attempts` bounds how often `tryOneTimeToken` may be called before it is worthless.
 */
export async function issueOneTimeToken(
  ctx: Context,
  tx: Db,
  token: {
    purpose: string
    ttlMs: number
    userId?: string | null
    sessionId?: string | null
    data?: Record<string, unknown>
    attempts?: number
  },
): Promise<string> {
  const text = `${prefix}${ctx.random.token(32)}`
  const now = ctx.clock.now()
  await tx
    .insertInto('oneTimeTokens')
    .values({
      tokenHash: sha256Hex(text),
      purpose: token.purpose,
      userId: token.userId ?? null,
      sessionId: token.sessionId ?? null,
      data: JSON.stringify(token.data ?? {}),
      attemptsLeft: token.attempts ?? 1,
      createdAt: now,
      expiresAt: now + token.ttlMs,
    })
    .execute()
  return text
}

const columns = ['tokenHash', 'userId', 'sessionId', 'data', 'attemptsLeft'] as const

/** Spends a token: of any number of calls at once exactly one is answered with it; undefined for a wrong, spent or expired one. */
export async function spendOneTimeToken(
  ctx: Context,
  tx: Db,
  purpose: string,
  text: string,
): Promise<OneTimeToken | undefined> {
  if (!pattern.test(text)) return undefined
  const row = await tx
    .deleteFrom('oneTimeTokens')
    .where('tokenHash', '=', sha256Hex(text))
    .where('purpose', '=', purpose)
    .where('expiresAt', '>', ctx.clock.now())
    .returning(columns)
    .executeTakeFirst()
  return row && toToken(row)
}

/**
 * Takes one of a token's attempts before whatever is to be proved with it is checked, so that a thousand guesses at once are still
 * only as many as it allows; undefined when none is left. Who proves it spends it with `endOneTimeToken`, in the transaction of the effect.
 */
export async function tryOneTimeToken(
  ctx: Context,
  tx: Db,
  purpose: string,
  text: string,
): Promise<OneTimeToken | undefined> {
  if (!pattern.test(text)) return undefined
  const row = await tx
    .updateTable('oneTimeTokens')
    .set((eb) => ({ attemptsLeft: eb('attemptsLeft', '-', 1) }))
    .where('tokenHash', '=', sha256Hex(text))
    .where('purpose', '=', purpose)
    .where('attemptsLeft', '>', 0)
    .where('expiresAt', '>', ctx.clock.now())
    .returning(columns)
    .executeTakeFirst()
  return row && toToken(row)
}

/** The token, unspent; undefined for a wrong, spent or expired one. For showing what it is about, never for letting anybody in. */
export async function findOneTimeToken(
  ctx: Context,
  db: Db,
  purpose: string,
  text: string,
): Promise<OneTimeToken | undefined> {
  if (!pattern.test(text)) return undefined
  const row = await db
    .selectFrom('oneTimeTokens')
    .select(columns)
    .where('tokenHash', '=', sha256Hex(text))
    .where('purpose', '=', purpose)
    .where('expiresAt', '>', ctx.clock.now())
    .executeTakeFirst()
  return row && toToken(row)
}

/** Spends a token that was tried; answers whether it was still there, which of several calls at once is true for one. */
export async function endOneTimeToken(tx: Db, token: OneTimeToken): Promise<boolean> {
  const row = await tx
    .deleteFrom('oneTimeTokens')
    .where('tokenHash', '=', token.tokenHash)
    .returning('tokenHash')
    .executeTakeFirst()
  return row !== undefined
}

/** Makes a person's unspent tokens of these purposes worthless, or all of them. */
export async function revokeOneTimeTokens(tx: Db, userId: string, purposes?: readonly string[]): Promise<void> {
  const all = tx.deleteFrom('oneTimeTokens').where('userId', '=', userId)
  await (purposes === undefined ? all : all.where('purpose', 'in', purposes)).execute()
}

/** Removes the tokens that have expired; answers how many. */
export async function pruneOneTimeTokens(ctx: Context): Promise<number> {
  const gone = await ctx.db.kysely.deleteFrom('oneTimeTokens').where('expiresAt', '<=', ctx.clock.now()).execute()
  return Number(gone[0]?.numDeletedRows ?? 0)
}

function toToken(row: Omit<OneTimeToken, 'data'> & { data: string }): OneTimeToken {
  return { ...row, data: JSON.parse(row.data) }
}

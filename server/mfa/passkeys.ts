import type { Factor, NewPasskey, NewPasskeyChallenge, PasskeyChallenge, UsedPasskey } from '@hivesync/contracts/mfa.ts'
import { findAccount, hasOtherCredential, lockAccount } from '../accounts/accounts.ts'
import { type Actor, requireSession } from '../platform/actor.ts'
import { type Config, isLoopback } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { sha256 } from '../platform/crypto/hash.ts'
import {
  passkeyCreationOptions,
  passkeyRequestOptions,
  type RelyingParty,
  type StoredPasskey,
  verifyNewPasskey,
  verifyPasskey,
} from '../platform/crypto/webauthn.ts'
import type { Db } from '../platform/db/db.ts'
import { isUniqueViolation } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { issueOneTimeToken, spendOneTimeToken } from '../platform/one-time-tokens.ts'
import { hasSecondFactor, type ProvenFactor, settleFactorChange, toFactor } from './factors.ts'
import { deleteFactor, findPasskey, insertFactor, listFactorSecrets, setFactorName, setPasskeyUsed } from './queries.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'

const ttlMs = 5 * 60_000
const maxPasskeys = 20
const using = 'passkey'
const adding = 'passkey-registration'

interface Answer {
  challengeToken: string
  credential: UsedPasskey
}

/** The name that passkeys are bound to. WebAuthn knows no addresses, so on a loopback address it is `localhost`, which the same server answers to. */
export function relyingPartyOf(config: Pick<Config, 'publicUrl'>): RelyingParty {
  const url = new URL(config.publicUrl)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (!isLoopback(host)) return { id: url.hostname, origins: [url.origin] }
  return { id: 'localhost', origins: [`${url.protocol}//localhost${url.port === '' ? '' : `:${url.port}`}`] }
}

/**
 * A challenge to prove a passkey with: for a login that names nobody yet (`userId` null), or for one person. It is the hash of a one-time
 * secret and of `binding`, what it is made for: an answer for one act proves no other.
 */
export async function challengePasskey(
  ctx: Context,
  about: { userId: string | null; sessionId: string | null; binding: string },
): Promise<PasskeyChallenge> {
  const rows = about.userId === null ? [] : await listFactorSecrets(ctx.db.kysely, about.userId, 'passkey')
  if (about.userId !== null && rows.length === 0) throw new AppError('factor_not_found')
  const { userId, sessionId } = about
  const challengeToken = await ctx.db.transaction((tx) =>
    issueOneTimeToken(ctx, tx, { purpose: using, ttlMs, userId, sessionId }),
  )
  const credentials = rows.map((row) => ({ id: row.externalId ?? '', transports: readPasskey(row.data).transports }))
  const challenge = challengeOf(challengeToken, about.binding)
  return { challengeToken, publicKey: passkeyRequestOptions(relyingPartyOf(ctx.config), challenge, credentials) }
}

/** A passkey as one person's second factor, or for a step-up. */
export async function proveSecondPasskey(
  ctx: Context,
  about: Answer & { userId: string; binding: string },
): Promise<ProvenFactor | undefined> {
  return prove(ctx, about, about.binding, about.userId)
}

/** A passkey as a whole login; says whose it is. */
export function provePasskeyLogin(
  ctx: Context,
  answer: Answer,
): Promise<(ProvenFactor & { userId: string }) | undefined> {
  return prove(ctx, answer, '', null)
}

/** `namedUserId` is whom the challenge was made for; null when it named nobody. */
async function prove(
  ctx: Context,
  { challengeToken, credential }: Answer,
  binding: string,
  namedUserId: string | null,
): Promise<(ProvenFactor & { userId: string }) | undefined> {
  // Spent by the first answer, right or wrong.
  const token = await ctx.db.transaction((tx) => spendOneTimeToken(ctx, tx, using, challengeToken))
  if (token === undefined || token.userId !== namedUserId) return undefined
  const factor = await findPasskey(ctx.db.kysely, credential.id)
  if (factor === undefined || (namedUserId !== null && factor.userId !== namedUserId)) return undefined
  const passkey = readPasskey(factor.data)
  const stored = { id: credential.id, userId: factor.userId, passkey, isNamed: namedUserId !== null }
  const challenge = challengeOf(challengeToken, binding)
  const used = await verifyPasskey(relyingPartyOf(ctx.config), challenge, credential, stored)
  if (used === undefined) return undefined
  const change = { before: factor.data, after: JSON.stringify(used) }
  return {
    userId: factor.userId,
    // RFC 8176: possession of a key, the person present and verified, so more than one factor.
    amr: ['pop', 'user', 'mfa'],
    use: (tx) => setPasskeyUsed(tx, factor.id, change, ctx.clock.now()),
  }
}

/** Begins to add a passkey to the account of the session. */
export async function startPasskey(ctx: Context, actor: Actor): Promise<NewPasskeyChallenge> {
  const { userId, sessionId } = requireSession(actor)
  const account = await findAccount(ctx.db.kysely, userId)
  if (account === undefined) throw new AppError('user_not_found')
  const rows = await listFactorSecrets(ctx.db.kysely, userId, 'passkey')
  if (rows.length >= maxPasskeys) throw new AppError('too_many_factors')
  const challengeToken = await ctx.db.transaction((tx) =>
    issueOneTimeToken(ctx, tx, { purpose: adding, ttlMs, userId, sessionId }),
  )
  const person = { userId, username: account.username, existing: rows.map((row) => row.externalId ?? '') }
  const challenge = challengeOf(challengeToken, sessionId)
  return { challengeToken, publicKey: passkeyCreationOptions(relyingPartyOf(ctx.config), challenge, person) }
}

/** Adds the passkey that the browser made, in the session that asked for it. */
export async function addPasskey(
  ctx: Context,
  actor: Actor,
  body: { challengeToken: string; credential: NewPasskey; name: string },
): Promise<{ factor: Factor; recoveryCodes: string[] | null }> {
  const { userId, sessionId } = requireSession(actor)
  const token = await ctx.db.transaction((tx) => spendOneTimeToken(ctx, tx, adding, body.challengeToken))
  if (token === undefined || token.sessionId !== sessionId) throw new AppError('invalid_passkey')
  const challenge = challengeOf(body.challengeToken, sessionId)
  const made = await verifyNewPasskey(relyingPartyOf(ctx.config), challenge, body.credential)
  if (made === undefined) throw new AppError('invalid_passkey')
  const now = ctx.clock.now()
  const row = { id: ctx.random.id(), kind: 'passkey', name: body.name, createdAt: now, lastUsedAt: null }
  const data = JSON.stringify(made.passkey)
  try {
    return await ctx.db.transaction(async (tx) => {
      if ((await lockAccount(tx, userId)) === undefined) throw new AppError('user_not_found')
      await requirePlace(tx, userId)
      const isFirst = !(await hasSecondFactor(tx, userId))
      await insertFactor(tx, { ...row, userId, externalId: made.id, data, confirmedAt: now })
      const recoveryCodes = isFirst ? await makeRecoveryCodes(ctx, tx, userId) : null
      const said = 'A passkey was added to your account.'
      await settleFactorChange(ctx, tx, actor, { action: 'factor.added', kind: 'passkey', factorId: row.id, said })
      return { factor: toFactor(row), recoveryCodes }
    })
  } catch (error) {
    if (isUniqueViolation(error) === 'factors(kind,external_id)') throw new AppError('factor_exists')
    throw error
  } finally {
    ctx.bus.publish('identity')
  }
}

async function requirePlace(tx: Db, userId: string): Promise<void> {
  if ((await listFactorSecrets(tx, userId, 'passkey')).length >= maxPasskeys) throw new AppError('too_many_factors')
}

export async function renamePasskey(ctx: Context, actor: Actor, factorId: string, name: string): Promise<Factor> {
  const { userId } = requireSession(actor)
  const row = await ctx.db.transaction((tx) => setFactorName(tx, userId, 'passkey', factorId, name))
  if (row === undefined) throw new AppError('factor_not_found', { factorId })
  return toFactor(row)
}

/** Removes a passkey, unless nobody could sign in any more after it. */
export async function removePasskey(ctx: Context, actor: Actor, factorId: string): Promise<void> {
  const { userId } = requireSession(actor)
  await ctx.db.transaction(async (tx) => {
    if ((await lockAccount(tx, userId)) === undefined) throw new AppError('user_not_found')
    if (!(await deleteFactor(tx, userId, 'passkey', factorId))) throw new AppError('factor_not_found', { factorId })
    const left = await listFactorSecrets(tx, userId, 'passkey')
    if (left.length === 0 && !(await hasOtherCredential(tx, userId))) throw new AppError('last_credential')
    const said = 'A passkey was removed from your account.'
    await settleFactorChange(ctx, tx, actor, { action: 'factor.removed', kind: 'passkey', factorId, said })
  })
  ctx.bus.publish('identity')
}

// Written by `addPasskey` and `prove`, nobody else.
const readPasskey = (data: string): StoredPasskey => JSON.parse(data)

const challengeOf = (challengeToken: string, binding: string): Buffer => sha256(`${challengeToken}\n${binding}`)

import type { LoginReply } from '@hivesync/contracts/sessions.ts'
import {
  type AccountWithHash,
  countPasswordFailure,
  disablePassword,
  findAccountByLogin,
  findAccountWithPassword,
  forgivePasswordFailures,
  isShort,
  loginKey,
  replacePasswordHash,
  upgradePasswordHash,
  verifyPassword,
} from '../accounts/accounts.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { type FailureRule, forgiveAttempt, reserveAttempt } from '../platform/limits/failures.ts'
import { type Client, fingerprintOf, passGate } from './gate.ts'
import { type KnownDevice, reserveDevice } from './known-devices.ts'

/** NIST SP 800-63B-4 §3.2.2: after this many consecutive failures the password alone is disabled, never the account (requirement A9). */
const maxConsecutiveFailures = 100
/** Mistyping is human; beyond it each failure doubles the wait. */
const freePerAccountAndSource = 5
/** An office behind one address mistypes more often than one person. */
const freePerSource = 50

/**
 * Signs in with a password. Whether the account is unknown, deactivated, without a password, its password disabled, or the password wrong: the
 * answer, the hashing and the rows written are the same (ASVS 6.3.8). Every attempt is counted as failed before it is checked.
 */
export async function logIn(
  ctx: Context,
  actor: Actor,
  body: { login: string; password: string },
  client: Client,
  source: string,
): Promise<LoginReply> {
  const account = await findAccountByLogin(ctx.db.kysely, body.login)
  const device = await trustedDevice(ctx, account, client.known)
  const rules = rulesFor(body.login, source)
  // A known device passes by the waits that strangers have caused: they must not be able to shut the owner out.
  const failures = device === undefined ? await reserveStranger(ctx, account, rules) : 0

  const isOpen = account !== undefined && account.deactivatedAt === null
  // The count, too: of many attempts at once none beyond the hundredth is checked, though nobody has written yet that the password is disabled.
  const isDisabled = device === undefined && (account?.passwordDisabledAt != null || failures > maxConsecutiveFailures)
  const stored = isOpen && !isDisabled ? account.passwordHash : null
  const isRight = await verifyPassword(ctx, stored, body.password, source)
  if (account === undefined || stored === null || !isRight) return refuseLogin(ctx, actor, account, failures)

  const current = await renewHash(ctx, account.id, stored, body.password)
  if (current === undefined) return refuseLogin(ctx, actor, account, failures)
  const proof = {
    userId: account.id,
    amr: ['pwd'],
    isMultiFactor: false,
    passwordFingerprint: fingerprintOf(current),
    async forgive(tx: Db) {
      if (device === undefined) await forgiveAttempt(ctx, tx, { forget: [rules.pair], uncount: [rules.source] })
      await forgivePasswordFailures(tx, account.id)
    },
  }
  const reply = await passGate(ctx, actor, proof, { ...client, known: device })
  // Deactivated, or the password changed, while it was being verified.
  return reply ?? refuseLogin(ctx, actor, account, 0)
}

/** Counts the attempt of a stranger; answers how many the account has had in a row. */
async function reserveStranger(ctx: Context, account: AccountWithHash | undefined, rules: Rules): Promise<number> {
  const count = (tx: Db) => countPasswordFailure(ctx, tx, account)
  return (await reserveAttempt(ctx, [rules.pair, rules.source], count)) ?? 0
}

/** Upgrades the hash that was just verified, if it is to be; answers the one that stands for this password now, undefined when that is another one. */
async function renewHash(ctx: Context, userId: string, stored: string, password: string): Promise<string | undefined> {
  const upgraded = await upgradePasswordHash(ctx, stored, password)
  if (upgraded === undefined) return stored
  // An imported password is seen here for the first time: whether it is too short to stand alone is known from now on.
  const replacement = { hash: upgraded, shortAt: isShort(password) ? ctx.clock.now() : null }
  // Only over the hash that was verified: a password changed meanwhile stays (reference T7).
  if (await ctx.db.transaction((tx) => replacePasswordHash(tx, userId, stored, replacement))) return upgraded
  // Another login upgraded it in the same moment, or the password was changed.
  const current = (await findAccountWithPassword(ctx.db.kysely, userId))?.passwordHash ?? null
  return current !== null && (await verifyPassword(ctx, current, password)) ? current : undefined
}

interface Rules {
  readonly pair: FailureRule
  readonly source: FailureRule
}

/**
 * By the login as people type it, not by the account it names: otherwise who has entered wrong passwords for a username would see, by the
 * wait, which email address is the same account's. So an account with both has twice the free attempts, and one count up to the hundred.
 */
function rulesFor(login: string, source: string): Rules {
  return {
    pair: { key: `login\n${loginKey(login)}\n${source}`, free: freePerAccountAndSource },
    source: { key: `source\n${source}`, free: freePerSource },
  }
}

/** The device, if it is this account's and has failures left; counts this attempt against it. */
async function trustedDevice(
  ctx: Context,
  account: AccountWithHash | undefined,
  known: KnownDevice | undefined,
): Promise<KnownDevice | undefined> {
  if (known === undefined || known.userId !== account?.id) return undefined
  return (await reserveDevice(ctx, known.id)) ? known : undefined
}

async function refuseLogin(
  ctx: Context,
  actor: Actor,
  account: AccountWithHash | undefined,
  failures: number,
): Promise<never> {
  // Never the login as typed: people type passwords into that field.
  const target = account === undefined ? undefined : { kind: 'user', id: account.id }
  await ctx.db.transaction(async (tx) => {
    await recordAudit(ctx, tx, actor, { action: 'session.refused', outcome: 'refused', ...(target && { target }) })
    if (account !== undefined && failures >= maxConsecutiveFailures) await disablePassword(ctx, tx, account)
  })
  throw new AppError('invalid_credentials')
}

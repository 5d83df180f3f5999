import { availableParallelism } from 'node:os'
import type { Context } from '../platform/context.ts'
import { createPasswordHasher, type PasswordHasher, passwordPermits } from '../platform/crypto/password.ts'
import { defaultPasswordCost, type PasswordCost } from '../platform/crypto/password-cost.ts'
import { StoredHashRefused } from '../platform/crypto/password-stored.ts'
import { Overloaded } from '../platform/crypto/permits.ts'
import { AppError } from '../platform/errors.ts'
import { findPasswordWorks, renewPasswordWorks } from './password-work.ts'

/** At 10 ms a hash, one permit serves this queue in 2.5 s; what cannot be served within the deadline is refused. */
const maxQueued = 256
/** Whoever floods the login from one place leaves three quarters of the queue to everybody else. */
const maxQueuedPerSource = 64
const deadlineMs = 5000

const hashers = new WeakMap<Context, PasswordHasher>()

/** The hasher of this server, with the configured cost. */
export function hasherOf(ctx: Context): PasswordHasher {
  let hasher = hashers.get(ctx)
  if (hasher === undefined) {
    hasher = createHasher(ctx, { maxQueued, maxQueuedPerSource, deadlineMs })
    hashers.set(ctx, hasher)
  }
  return hasher
}

/** A hasher of the configured cost with limits of its own, for work that nobody waits for on the other end of a line. */
export function createHasher(
  ctx: Context,
  limits: { maxQueued: number; maxQueuedPerSource?: number; deadlineMs: number },
): PasswordHasher {
  const cost = passwordCost(ctx)
  const permits = passwordPermits(availableParallelism(), ctx.config.threadPoolSize, cost.memoryCost)
  return createPasswordHasher({ ...limits, permits, cost })
}

function passwordCost({ config: { passwordCost: configured } }: Context): PasswordCost {
  if (configured === null) return defaultPasswordCost
  return { memoryCost: configured.memoryKib, timeCost: configured.passes, parallelism: 1 }
}

/** Gives a context its hasher, for a harness that wants other limits or costs; throws once the context has used one. */
export function setPasswordHasher(ctx: Context, hasher: PasswordHasher): void {
  if (hashers.has(ctx)) throw new Error('the context already has a password hasher')
  hashers.set(ctx, hasher)
}

/** Before the server listens: what verifying a password costs is made the same for every account there is. */
export function equalizePasswordWork(ctx: Context): Promise<void> {
  return renewPasswordWorks(ctx, hasherOf(ctx).work)
}

/** The password's hash as it is stored; refuses with `overloaded` when too many wait. Call it outside transactions. */
export function hashPassword(ctx: Context, password: string): Promise<string> {
  return refuseOverload(() => hasherOf(ctx).hash(password))
}

/**
 * Whether the password made the stored hash. Without one the same work is done and the answer is no, so that time does not
 * tell who has an account, nor of which kind (ASVS 6.3.8). A damaged stored hash matches nothing and is logged. `source`, such as the
 * network of the client, may wait only a quarter of the queue. Call it outside transactions.
 */
export async function verifyPassword(
  ctx: Context,
  stored: string | null,
  password: string,
  source: string | null = null,
): Promise<boolean> {
  const hasher = hasherOf(ctx)
  const of = { works: await findPasswordWorks(ctx), source }
  return refuseOverload(async () => {
    if (stored === null) return hasher.verifyNothing(password, of)
    try {
      return await hasher.verify(stored, password, of)
    } catch (error) {
      if (!(error instanceof StoredHashRefused)) throw error
      ctx.log.error({ event: 'stored_hash_refused' }, error)
      return hasher.verifyNothing(password, of)
    }
  })
}

/**
 * A new hash when the stored one, just verified with this password, is another system's or was made with other parameters than today's
 * (requirements A2, A3); undefined when it is to stay. Store it only over the hash that was verified.
 */
export async function upgradePasswordHash(ctx: Context, stored: string, password: string): Promise<string | undefined> {
  return hasherOf(ctx).needsRehash(stored, password) ? hashPassword(ctx, password) : undefined
}

async function refuseOverload<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Overloaded)) throw error
    const headers = { 'retry-after': String(error.retryAfterSeconds) }
    throw new AppError('overloaded', { reason: error.reason }, { headers })
  }
}

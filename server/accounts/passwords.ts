import { availableParallelism } from 'node:os'
import type { Context } from '../platform/context.ts'
import {
  createPasswordHasher,
  type PasswordHasher,
  passwordPermits,
  StoredHashRefused,
} from '../platform/crypto/password.ts'
import { Overloaded } from '../platform/crypto/permits.ts'
import { AppError } from '../platform/errors.ts'

/** libuv's threads unless UV_THREADPOOL_SIZE says otherwise: https://docs.libuv.org/en/v1.x/threadpool.html */
const threadPoolSize = 4
/** At 10 ms a hash, one permit serves this queue in 2.5 s; what cannot be served within the deadline is refused at once. */
const maxQueued = 256
const deadlineMs = 5000

const hashers = new WeakMap<Context, PasswordHasher>()

function hasherOf(ctx: Context): PasswordHasher {
  let hasher = hashers.get(ctx)
  if (hasher === undefined) {
    hasher = createPasswordHasher({
      permits: passwordPermits(availableParallelism(), threadPoolSize),
      maxQueued,
      deadlineMs,
    })
    hashers.set(ctx, hasher)
  }
  return hasher
}

/** Gives a context its hasher, for a harness that wants other limits or costs; throws once the context has used one. */
export function setPasswordHasher(ctx: Context, hasher: PasswordHasher): void {
  if (hashers.has(ctx)) throw new Error('the context already has a password hasher')
  hashers.set(ctx, hasher)
}

/** The password's hash as it is stored; refuses with `overloaded` when too many wait. Call it outside transactions. */
export function hashPassword(ctx: Context, password: string): Promise<string> {
  return refuseOverload(() => hasherOf(ctx).hash(password))
}

/**
 * Whether the password made the stored hash. Without one the same work is done and the answer is no, so that time does not
 * tell who has an account (ASVS 6.3.8). A damaged stored hash matches nothing and is logged.
 */
export function verifyPassword(ctx: Context, stored: string | null, password: string): Promise<boolean> {
  const hasher = hasherOf(ctx)
  return refuseOverload(async () => {
    if (stored === null) return hasher.verifyNothing(password)
    try {
      return await hasher.verify(stored, password)
    } catch (error) {
      if (!(error instanceof StoredHashRefused)) throw error
      ctx.log.error({ event: 'stored_hash_refused' }, error)
      return hasher.verifyNothing(password)
    }
  })
}

/** A new hash when the stored one was made with other parameters than today's (requirement A2); undefined when it is current. */
export async function upgradePasswordHash(ctx: Context, stored: string, password: string): Promise<string | undefined> {
  return hasherOf(ctx).needsRehash(stored) ? hashPassword(ctx, password) : undefined
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

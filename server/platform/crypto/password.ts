import { hash as argon2Hash, verify as argon2Verify } from '@node-rs/argon2'
import { secureRandomBytes } from './hash.ts'
import { createPermits } from './permits.ts'

/** Argon2's cost: memory in KiB, passes, lanes. */
export interface PasswordCost {
  memoryCost: number
  timeCost: number
  parallelism: number
}

/** OWASP's second choice and ASVS 5.0 appendix C: 19 MiB, two passes, one lane; 9.4 ms of CPU on a 2-core Xeon. */
export const defaultPasswordCost: PasswordCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }
const argon2id = { algorithm: 2, version: 1, outputLen: 32 } as const // version 1 stands for 0x13
const saltBytes = 16
const maxPasswordBytes = 1024
// Caps on stored parameters: a planted hash with m = 2 GiB took 16 s and 2.1 GB to verify.
const maxStored: PasswordCost = { memoryCost: 256 * 1024, timeCost: 10, parallelism: 8 }
const phcPattern =
  /^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/

/** The password cannot be hashed: longer than 1 KiB in UTF-8 after NFC, or not well-formed Unicode. */
export class PasswordRefused extends Error {
  override name = 'PasswordRefused'
}

/** The stored hash is no Argon2id of bearable cost; someone planted or damaged it. */
export class StoredHashRefused extends Error {
  override name = 'StoredHashRefused'
}

export interface PasswordHasher {
  /** Argon2id in PHC form with a new salt. Throws `PasswordRefused`, or `Overloaded` when saturated. */
  hash(password: string): Promise<string>
  /** Whether the password made the stored hash; a password that could not be hashed costs the same and is wrong. Throws `StoredHashRefused` or `Overloaded`. */
  verify(stored: string, password: string): Promise<boolean>
  /** The work of `verify` when there is no account, so that its time does not tell (ASVS 6.3.8); always false. */
  verifyNothing(password: string): Promise<false>
  /** Whether a stored hash was made with other parameters than today's and is to be replaced after a login. */
  needsRehash(stored: string): boolean
  /** Hashes running and waiting, for metrics. */
  readonly load: { running: number; waiting: number }
}

/** Hashes that may run at once: one core and one libuv thread stay free, else 40 logins delay every file read by 1.4 s. */
export function passwordPermits(cores: number, threadPoolSize: number): number {
  return Math.max(1, Math.min(cores, threadPoolSize) - 1)
}

/**
 * Password hashing with bounded memory (permits × 19 MiB): at most `permits` at once and `maxQueued` waiting, each at most
 * `deadlineMs`, then `Overloaded`. The answer for unknown accounts takes the same queue.
 */
export function createPasswordHasher(options: {
  permits: number
  maxQueued: number
  deadlineMs: number
  cost?: PasswordCost
}): PasswordHasher {
  const cost = options.cost ?? defaultPasswordCost
  const permits = createPermits(options)
  const nothing = unmatchableHash(cost)

  async function verify(stored: string, password: string): Promise<boolean> {
    if (!isBearable(stored)) throw new StoredHashRefused('stored password hash is no bearable Argon2id')
    const normalized = normalize(password)
    return await permits.run(async () => {
      const matches = await argon2Verify(stored, normalized ?? '')
      return matches && normalized !== undefined
    })
  }

  return {
    async hash(password) {
      const normalized = normalize(password)
      if (normalized === undefined) throw new PasswordRefused('password is too long or not well-formed text')
      return await permits.run(() =>
        argon2Hash(normalized, { ...argon2id, ...cost, salt: secureRandomBytes(saltBytes) }),
      )
    },
    verify,
    async verifyNothing(password) {
      await verify(nothing, password)
      return false
    },
    needsRehash(stored) {
      const found = findCost(stored)
      return (
        found?.memoryCost !== cost.memoryCost ||
        found.timeCost !== cost.timeCost ||
        found.parallelism !== cost.parallelism
      )
    },
    get load() {
      return permits.load
    },
  }
}

/** A hash of today's cost whose password nobody knows: the output is random instead of computed. */
function unmatchableHash({ memoryCost, timeCost, parallelism }: PasswordCost): string {
  const [salt, output] = [saltBytes, argon2id.outputLen].map((count) =>
    Buffer.from(secureRandomBytes(count)).toString('base64').replace(/=+$/, ''),
  )
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${output}`
}

function findCost(stored: string): PasswordCost | undefined {
  const [, memoryCost, timeCost, parallelism] = phcPattern.exec(stored) ?? []
  if (memoryCost === undefined) return undefined
  return { memoryCost: Number(memoryCost), timeCost: Number(timeCost), parallelism: Number(parallelism) }
}

function isBearable(stored: string): boolean {
  const cost = findCost(stored)
  return (
    cost !== undefined &&
    cost.memoryCost <= maxStored.memoryCost &&
    cost.timeCost <= maxStored.timeCost &&
    cost.parallelism <= maxStored.parallelism
  )
}

/** NFC (NIST SP 800-63B-4 3.1.1.2), so that one password typed on two systems is one; undefined when it may not be hashed. */
function normalize(password: string): string | undefined {
  // Composing shortens text, but never that far: longer input cannot fit and is not worth the work.
  if (password.length > 3 * maxPasswordBytes || !password.isWellFormed()) return undefined
  const normalized = password.normalize('NFC')
  return Buffer.byteLength(normalized) <= maxPasswordBytes ? normalized : undefined
}

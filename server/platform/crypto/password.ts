import { hash as argon2Hash, verify as argon2Verify } from '@node-rs/argon2'
import { secureRandomBytes } from './hash.ts'
import { defaultPasswordCost, isBearable, nameOfWork, type PasswordCost, type PasswordWork } from './password-cost.ts'
import { bcryptSecret, fitsBcrypt, type LegacyHash, sha256Secret } from './password-legacy.ts'
import {
  formatStoredHash,
  mergeWorks,
  parseStoredHash,
  type StoredHash,
  StoredHashRefused,
  worksOf,
} from './password-stored.ts'
import { createPermits } from './permits.ts'

const argon2id = { algorithm: 2, version: 1, outputLen: 32 } as const // version 1 stands for 0x13
const saltBytes = 16
const maxPasswordBytes = 1024
/** What all hashes at once may take, in KiB; one that takes more runs alone. */
const memoryBudget = 1024 * 1024

/** The password cannot be hashed: longer than 1 KiB in UTF-8 after NFC, or not well-formed Unicode. */
export class PasswordRefused extends Error {
  override name = 'PasswordRefused'
}

/** For whom a password is verified, and what else is in use. */
export interface Verification {
  /** The works of every stored hash in use: each is done, so that no account is told from another by its time. */
  works?: readonly PasswordWork[]
  /** Who asks; one source cannot fill the queue alone. */
  source?: string | null
}

export interface PasswordHasher {
  /** Argon2id in PHC form with a new salt. Throws `PasswordRefused`, or `Overloaded` when saturated. */
  hash(password: string): Promise<string>
  /** The stored form of another system's hash: wrapped in Argon2id of today's cost. Throws `Overloaded`. */
  wrap(legacy: LegacyHash): Promise<string>
  /** Whether the password made the stored hash; a password that could not be hashed costs the same and is wrong. Throws `StoredHashRefused` or `Overloaded`. */
  verify(stored: string, password: string, of?: Verification): Promise<boolean>
  /** The work of `verify` when there is no account, so that its time does not tell (ASVS 6.3.8); always false. */
  verifyNothing(password: string, of?: Verification): Promise<false>
  /** What is done to verify a stored hash, or none, in this order. Throws `StoredHashRefused`. */
  worksFor(stored: string | null, inUse?: readonly PasswordWork[]): PasswordWork[]
  /** Whether a stored hash is to be replaced after a login with this password: it is another system's, or of other parameters than today's. */
  needsRehash(stored: string, password: string): boolean
  /** The work of hashes made now. */
  readonly work: PasswordWork
  /** Hashes running and waiting, for metrics. */
  readonly load: { running: number; waiting: number }
}

/** Hashes that may run at once: one core and one libuv thread stay free, else 40 logins delay every file read by 1.4 s; and no more than fit into 1 GiB. */
export function passwordPermits(cores: number, threadPoolSize: number, memoryKib = 0): number {
  return Math.max(1, Math.min(Math.min(cores, threadPoolSize) - 1, Math.floor(memoryBudget / Math.max(1, memoryKib))))
}

/**
 * Password hashing with bounded memory (1 GiB, or one hash): at most `permits` at once and `maxQueued` waiting, each at most
 * `deadlineMs`, then `Overloaded`. The answer for unknown accounts takes the same queue.
 */
export function createPasswordHasher(options: {
  permits: number
  maxQueued: number
  deadlineMs: number
  maxQueuedPerSource?: number
  cost?: PasswordCost
}): PasswordHasher {
  const cost = options.cost ?? defaultPasswordCost
  const today: PasswordWork = { kind: 'argon2id', ...cost }
  const permits = createPermits({ ...options, budget: memoryBudget })

  function plan(stored: StoredHash | undefined, inUse: readonly PasswordWork[]): PasswordWork[] {
    const known = mergeWorks([today], inUse)
    const own = stored === undefined ? [] : worksOf(stored)
    const names = new Set(known.map(nameOfWork))
    if (own.some((work) => !isBearable(work) && !names.has(nameOfWork(work))))
      throw new StoredHashRefused('stored password hash is dearer than any in use')
    return mergeWorks(known, own)
  }

  function verify(stored: StoredHash | undefined, password: string, { works = [], source = null }: Verification) {
    const planned = plan(stored, works)
    return permits.run(() => doWorks(planned, stored, password), { size: memoryOf(planned), source })
  }

  function hashSecret(secret: string): Promise<string> {
    const run = () => argon2Hash(secret, { ...argon2id, ...cost, salt: secureRandomBytes(saltBytes) })
    return permits.run(run, { size: cost.memoryCost })
  }

  return {
    async hash(password) {
      const normalized = normalize(password)
      if (normalized === undefined) throw new PasswordRefused('password is too long or not well-formed text')
      return await hashSecret(normalized)
    },
    async wrap({ inner, secret }) {
      return formatStoredHash(inner, await hashSecret(secret))
    },
    verify: async (stored, password, of = {}) => await verify(parseStoredHash(stored), password, of),
    async verifyNothing(password, of = {}) {
      await verify(undefined, password, of)
      return false
    },
    worksFor: (stored, inUse = []) => plan(stored === null ? undefined : parseStoredHash(stored), inUse),
    needsRehash: (stored, password) => needsRehash(stored, password, today),
    work: today,
    get load() {
      return permits.load
    },
  }
}

/** Does all the works, of which the stored hash needs some; the others are done for nobody. */
async function doWorks(works: readonly PasswordWork[], stored: StoredHash | undefined, password: string) {
  const normalized = normalize(password)
  // Another system's password is taken as it was typed, ours in NFC; what may not be hashed costs the same as what may.
  const typed = normalized === undefined ? '' : password
  let secret = stored?.inner.kind === 'sha256' ? sha256Secret(typed) : normalized
  let matches = false
  for (const work of works) {
    if (work.kind === 'bcrypt') {
      const salt = stored?.inner.kind === 'bcrypt' && stored.bcrypt?.cost === work.cost ? stored.inner.salt : undefined
      const output = await bcryptSecret(typed, salt ?? `$${nameOfWork(work)}$${'.'.repeat(22)}`)
      if (salt !== undefined) secret = output
    } else {
      const isOwn = stored !== undefined && nameOfWork(stored.argon2id) === nameOfWork(work)
      const result = await argon2Verify(isOwn ? stored.phc : unmatchableHash(work), isOwn ? (secret ?? '') : typed)
      if (isOwn) matches = result
    }
  }
  return matches && normalized !== undefined && secret !== undefined
}

function needsRehash(stored: string, password: string, today: PasswordWork): boolean {
  const { inner, argon2id } = parseStoredHash(stored)
  // Of a longer one bcrypt has seen only the beginning: its end was never proved, and a slip in it would become the password.
  if (inner.kind === 'bcrypt') return fitsBcrypt(password)
  return inner.kind === 'sha256' || nameOfWork(argon2id) !== nameOfWork(today)
}

function memoryOf(works: readonly PasswordWork[]): number {
  return Math.max(...works.map((work) => (work.kind === 'argon2id' ? work.memoryCost : 0)))
}

const unmatchable = new Map<string, string>()

/** A hash of this cost whose password nobody knows: the output is random instead of computed. */
function unmatchableHash(work: PasswordWork): string {
  const name = nameOfWork(work)
  const [salt, output] = [saltBytes, argon2id.outputLen].map((count) =>
    Buffer.from(secureRandomBytes(count)).toString('base64').replace(/=+$/, ''),
  )
  const made = unmatchable.get(name) ?? `$argon2id$v=19$${name}$${salt}$${output}`
  unmatchable.set(name, made)
  return made
}

/** NFC (NIST SP 800-63B-4 3.1.1.2), so that one password typed on two systems is one; undefined when it may not be hashed. */
function normalize(password: string): string | undefined {
  // Composing shortens text, but never that far: longer input cannot fit and is not worth the work.
  if (password.length > 3 * maxPasswordBytes || !password.isWellFormed()) return undefined
  const normalized = password.normalize('NFC')
  return Buffer.byteLength(normalized) <= maxPasswordBytes ? normalized : undefined
}

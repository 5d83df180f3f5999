/** Argon2's cost: memory in KiB, passes, lanes. */
export interface PasswordCost {
  memoryCost: number
  timeCost: number
  parallelism: number
}

/** OWASP's second choice and ASVS 5.0 appendix C: 19 MiB, two passes, one lane; 9.4 ms of CPU on a 2-core Xeon. */
export const defaultPasswordCost: PasswordCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

// Caps on planted parameters: a hash with m = 2 GiB took 16 s and 2.1 GB to verify.
const maxCost: PasswordCost = { memoryCost: 256 * 1024, timeCost: 10, parallelism: 8 }
/** What the configuration may ask for at most (platform/config.ts), and so what a hash of its time may state. */
const maxConfiguredMemory = 1024 * 1024
/** bcrypt 13 takes 0.8 s, and while such a hash is stored every login takes that long; 31 would take two days. 4 is the least that bcrypt has. */
const bcryptCosts = { least: 4, most: 13 }

/**
 * A piece of work that a stored hash asks for. A verification does every kind that is in use, whoever the account is, so that its time tells nothing:
 * Argon2id of one cost, or bcrypt of one cost.
 */
export type PasswordWork =
  | ({ readonly kind: 'argon2id' } & Readonly<PasswordCost>)
  | { readonly kind: 'bcrypt'; readonly cost: number }

/** A work as it is written between two `$` of every stored hash that asks for it: `m=19456,t=2,p=1` or `2b$12`. */
export function nameOfWork(work: PasswordWork): string {
  if (work.kind === 'bcrypt') return `2b$${String(work.cost).padStart(2, '0')}`
  return `m=${work.memoryCost},t=${work.timeCost},p=${work.parallelism}`
}

/** Reads a work's name; undefined for what is none, and for what no configuration and no import could have asked for. */
export function parseWork(name: string): PasswordWork | undefined {
  const bcrypt = /^2b\$(\d\d)$/.exec(name)
  if (bcrypt !== null) {
    const cost = Number(bcrypt[1])
    return cost >= bcryptCosts.least && cost <= bcryptCosts.most ? { kind: 'bcrypt', cost } : undefined
  }
  const [, memory, time, lanes] = /^m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,2})$/.exec(name) ?? []
  if (memory === undefined) return undefined
  const cost = { memoryCost: Number(memory), timeCost: Number(time), parallelism: Number(lanes) }
  // Argon2 wants 8 KiB a lane (RFC 9106 §3.1).
  const isPossible =
    cost.memoryCost >= 8 * cost.parallelism &&
    cost.memoryCost <= maxConfiguredMemory &&
    cost.timeCost <= maxCost.timeCost &&
    cost.parallelism <= maxCost.parallelism
  return isPossible ? { kind: 'argon2id', ...cost } : undefined
}

/** Whether a hash that nobody registered may be worked on: it is no dearer than the caps, so that a planted one cannot exhaust the machine. */
export function isBearable(work: PasswordWork): boolean {
  return work.kind === 'bcrypt' || work.memoryCost <= maxCost.memoryCost
}

import { nameOfWork, type PasswordWork, parseWork } from './password-cost.ts'

/** The stored hash is none of ours, or of unbearable cost; someone planted or damaged it. */
export class StoredHashRefused extends Error {
  override name = 'StoredHashRefused'
}

/** What Argon2id was given: the password, or what the system that a person comes from had stored of it. */
export type Inner = { readonly kind: 'plain' | 'sha256' } | { readonly kind: 'bcrypt'; readonly salt: string }

export interface StoredHash {
  readonly inner: Inner
  readonly argon2id: PasswordWork & { kind: 'argon2id' }
  readonly bcrypt: (PasswordWork & { kind: 'bcrypt' }) | undefined
  /** Argon2id's own string (PHC format). */
  readonly phc: string
}

// $argon2id$v=19$… as it is · $hs-sha256$argon2id$… over the SHA-256 in hex · $hs-bcrypt$2b$12$<22 of salt>$argon2id$… over bcrypt's 31 characters of output
const storedPattern =
  /^(?:\$hs-(?:(sha256)|bcrypt\$(2b\$\d\d)\$([./A-Za-z0-9]{21}[.Oeu])))?(\$argon2id\$v=19\$([mtp=,\d]{1,40})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86}))$/

/** Reads a stored hash strictly; throws `StoredHashRefused` before any work is done for one that is malformed or asks for more than was ever configured. */
export function parseStoredHash(stored: string): StoredHash {
  const [, sha256, bcryptName, salt, phc, costName, ...encoded] =
    stored.length <= 400 ? (storedPattern.exec(stored) ?? []) : []
  const argon2id = parseWork(costName ?? '')
  const bcrypt = bcryptName === undefined ? undefined : parseWork(bcryptName)
  if (phc === undefined || argon2id?.kind !== 'argon2id' || !encoded.every(isBase64)) throw refused()
  if (bcryptName === undefined)
    return { inner: { kind: sha256 === undefined ? 'plain' : 'sha256' }, argon2id, bcrypt: undefined, phc }
  if (bcrypt?.kind !== 'bcrypt') throw refused()
  return { inner: { kind: 'bcrypt', salt: `$${bcryptName}$${salt}` }, argon2id, bcrypt, phc }
}

/** The stored form of Argon2id's string over what `inner` says. */
export function formatStoredHash(inner: Inner, phc: string): string {
  if (inner.kind === 'bcrypt') return `$hs-bcrypt${inner.salt}${phc}`
  return inner.kind === 'sha256' ? `$hs-sha256${phc}` : phc
}

/** The kinds of work that verifying it takes. */
export function worksOf(stored: StoredHash): PasswordWork[] {
  return stored.bcrypt === undefined ? [stored.argon2id] : [stored.bcrypt, stored.argon2id]
}

/** The works of all lists, each once, in the one order in which they are done: bcrypt first, for its output is what Argon2id is given. */
export function mergeWorks(...lists: (readonly PasswordWork[])[]): PasswordWork[] {
  const byName = new Map(lists.flat().map((work) => [nameOfWork(work), work]))
  return [...byName.keys()].sort().flatMap((name) => byName.get(name) ?? [])
}

/** Whether a text is base64 without padding, spelled as it is written: what decodes to nothing would be a fault in the middle of the work. */
function isBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}

function refused(): StoredHashRefused {
  return new StoredHashRefused('stored password hash is none of ours, or of unbearable cost')
}

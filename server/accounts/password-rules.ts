import { isIP } from 'node:net'

/** NIST SP 800-63B-4 §3.1.1.2: 15 characters where the password is the only factor, 8 beside a second one; a code point counts as one. */
const minAlone = 15
const minBesideFactor = 8
/** More is never hashed: the hasher's own ceiling, in UTF-8 after NFC. */
const maxBytes = 1024
/** A shorter name is part of too many innocent passphrases to be held against one. */
const minNameLength = 3
const minContextLength = 4
const productName = 'hivesync'

export interface PasswordRules {
  /** The person has a second factor, without which nobody gets in. */
  hasSecondFactor: boolean
  /** Upper case, lower case and digits are demanded: off unless configured, because it makes passwords worse. */
  isMixed: boolean
  /** What everybody here would think of first: see `contextWordsOf`. */
  contextWords: readonly string[]
}

/**
 * Why a password is not acceptable for this person, as the end of the sentence "The password …"; undefined when it is.
 * Length and the words that suggest themselves here: there are no composition rules unless configured, and nothing is trimmed or cut.
 */
export function findPasswordFault(
  password: string,
  person: { username: string; email: string },
  rules: PasswordRules,
): string | undefined {
  if (!password.isWellFormed()) return 'is not well-formed text'
  const normalized = password.normalize('NFC')
  const least = rules.hasSecondFactor ? minBesideFactor : minAlone
  if (countCodePoints(normalized) < least) return `must have at least ${least} characters`
  if (Buffer.byteLength(normalized) > maxBytes) return `must have at most ${maxBytes} bytes`
  const folded = normalized.toLowerCase()
  const contains = (name: string) =>
    name.length >= minNameLength && folded.includes(name.normalize('NFC').toLowerCase())
  if (contains(person.username)) return 'must not contain the username'
  if (contains(localPart(person.email))) return 'must not contain the email address'
  if (countCodePoints(without(folded, rules.contextWords)) < least)
    return `must have at least ${least} characters besides the name of this service and its address`
  if (rules.isMixed && !(/\p{Lu}/u.test(normalized) && /\p{Ll}/u.test(normalized) && /\p{Nd}/u.test(normalized)))
    return 'must have an upper case letter, a lower case letter and a digit'
  return undefined
}

/** Whether a password is too short to be the only factor: callers remember it (`users.password_short_at`), so that its owner keeps the second one. */
export function isShort(password: string): boolean {
  return countCodePoints(password.normalize('NFC')) < minAlone
}

/**
 * The words that do not count towards a password's length here (ASVS 6.1.2, 6.2.11): the name of the product, the server's host name, and the
 * parts of that of four letters or more, but for the last (`net` would be held against `network`). A long passphrase may mention them.
 */
export function contextWordsOf(publicUrl: string): string[] {
  const host = new URL(publicUrl).hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const labels = host.split('.')
  const parts = isIP(host) === 0 ? (labels.length > 1 ? labels.slice(0, -1) : labels) : []
  const words = [host, ...parts, productName].filter((word) => word.length >= minContextLength)
  // Longest first: what is left of a longer word must not hide a shorter one.
  return [...new Set(words)].sort((a, b) => b.length - a.length)
}

function without(text: string, words: readonly string[]): string {
  return words.reduce((rest, word) => rest.replaceAll(word, ''), text)
}

function localPart(email: string): string {
  return email.slice(0, email.lastIndexOf('@'))
}

function countCodePoints(text: string): number {
  return [...text].length
}

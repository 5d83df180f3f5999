/** NIST SP 800-63B-4 §3.1.1.2: 15 characters where the password is the only factor; a code point counts as one. */
const minCodePoints = 15
/** More is never hashed: the hasher's own ceiling, in UTF-8 after NFC. */
const maxBytes = 1024
/** A shorter name is part of too many innocent passphrases to be held against one. */
const minNameLength = 3

/**
 * Why a password is not acceptable for this person, as the end of the sentence "The password …"; undefined when it is.
 * Length and the person's own names only: there are no composition rules, and nothing is trimmed or cut.
 */
export function findPasswordFault(password: string, person: { username: string; email: string }): string | undefined {
  if (!password.isWellFormed()) return 'is not well-formed text'
  const normalized = password.normalize('NFC')
  if ([...normalized].length < minCodePoints) return `must have at least ${minCodePoints} characters`
  if (Buffer.byteLength(normalized) > maxBytes) return `must have at most ${maxBytes} bytes`
  const folded = normalized.toLowerCase()
  const contains = (name: string) =>
    name.length >= minNameLength && folded.includes(name.normalize('NFC').toLowerCase())
  if (contains(person.username)) return 'must not contain the username'
  if (contains(person.email.slice(0, person.email.lastIndexOf('@')))) return 'must not contain the email address'
  return undefined
}

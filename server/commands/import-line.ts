import { Email, Username } from '@hivesync/contracts/accounts.ts'
import { conforms, faultsOf, Type } from '@hivesync/contracts/schema.ts'
import { object, Time } from '@hivesync/contracts/values.ts'
import type { ImportedAccount } from '../accounts/password-import.ts'
import { parseLegacyHash } from '../platform/crypto/password-legacy.ts'
import { AppError } from '../platform/errors.ts'
import { parseJson } from '../platform/http/json.ts'

const ImportedUser = object({
  email: Email,
  username: Username,
  passwordHash: Type.String({ minLength: 1, maxLength: 200 }),
  isAdmin: Type.Optional(Type.Boolean()),
  createdAt: Type.Optional(Time),
})

/** Reads one line of an import, judged as strictly as a request's body; answers what is wrong with it, in words that repeat nothing of it. */
export function parseImportLine(bytes: Buffer, now: number): ImportedAccount | { problem: string } {
  const value = parseStrictly(bytes)
  if (value === undefined) return { problem: 'is not strict JSON in UTF-8' }
  if (!conforms(ImportedUser, value)) {
    const [fault] = faultsOf(ImportedUser, value)
    return { problem: `${fault?.path.slice(1) || 'it'} ${fault?.message ?? 'is not what it must be'}` }
  }
  if (!value.email.isWellFormed()) return { problem: 'email is not well-formed text' }
  const legacy = parseLegacyHash(value.passwordHash)
  if (legacy === undefined) return { problem: 'passwordHash is neither SHA-256 in hex nor bcrypt of cost 4 to 13' }
  const createdAt = value.createdAt === undefined ? undefined : Date.parse(value.createdAt)
  if (createdAt !== undefined && !(createdAt >= 0 && createdAt <= now))
    return { problem: 'createdAt is not in the past' }
  return { email: value.email, username: value.username, legacy, isAdmin: value.isAdmin ?? false, createdAt }
}

function parseStrictly(bytes: Buffer): unknown {
  try {
    return parseJson(bytes)
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

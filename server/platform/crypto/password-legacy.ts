import { hash as bcryptHash } from '@node-rs/bcrypt'
import { sha256Hex } from './hash.ts'
import { type PasswordWork, parseWork } from './password-cost.ts'
import type { Inner } from './password-stored.ts'

/** What is to be wrapped in Argon2id, so that no fast hash is ever stored. */
export interface LegacyHash {
  readonly inner: Inner
  readonly secret: string
  /** The work besides Argon2id, if any. */
  readonly work: PasswordWork | undefined
}

const bcryptAlphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
/** bcrypt reads no further. */
const bcryptBytes = 72

/**
 * Reads what another system stored for a password: SHA-256 without a salt, in hex, or bcrypt ($2a$, $2b$, $2y$: one algorithm) of cost 4 to 13.
 * Undefined for everything else; `$2x$`, whose maker had a fault, among it.
 */
export function parseLegacyHash(text: string): LegacyHash | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return { inner: { kind: 'sha256' }, secret: text.toLowerCase(), work: undefined }
  const [, cost, salt = '', output = ''] = /^\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/.exec(text) ?? []
  const work = parseWork(`2b$${cost}`)
  if (work === undefined) return undefined
  // 128 bits of salt leave four of its last character unused, 184 of output two: decoders ignore them, ours writes zeros.
  const inner = { kind: 'bcrypt', salt: `$2b$${cost}$${clearBits(salt, 4)}` } as const
  return { inner, secret: clearBits(output, 2), work }
}

function clearBits(text: string, count: number): string {
  const last = bcryptAlphabet.indexOf(text.at(-1) ?? '')
  return text.slice(0, -1) + bcryptAlphabet.charAt((last >> count) << count)
}

/** SHA-256 in hex of a password, byte for byte as it was typed: the old system composed nothing. */
export function sha256Secret(password: string): string {
  return sha256Hex(password)
}

/**
 * bcrypt's output for a password as it was typed, or undefined for one that it cannot have been: with a NUL inside, where `ab` and `ab\0ab` are one
 * to bcrypt, since it repeats the password with the NUL behind it. The work is done all the same. Bytes beyond 72 do not count.
 */
export async function bcryptSecret(password: string, salt: string): Promise<string | undefined> {
  const [cost, encoded = ''] = salt.split('$').slice(2)
  const output = (await bcryptHash(password, Number(cost), decodeSalt(encoded))).slice(-31)
  return password.includes('\0') ? undefined : output
}

/** The 16 bytes of a salt: bcrypt's base64 has an alphabet of its own, in the order of RFC 4648's. */
function decodeSalt(encoded: string): Uint8Array {
  const standard = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const text = encoded.replace(/./g, (letter) => standard.charAt(bcryptAlphabet.indexOf(letter)))
  return Uint8Array.from(Buffer.from(text, 'base64').subarray(0, 16))
}

/** Whether bcrypt has seen all of the password. */
export function fitsBcrypt(password: string): boolean {
  return Buffer.byteLength(password) <= bcryptBytes
}

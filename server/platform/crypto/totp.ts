import { Secret, TOTP } from 'otpauth'

const periodSeconds = 30
const digits = 6
/** One step to either side for clocks that are off and codes that are slow to type (RFC 6238 §5.2, §6); ASVS 6.5.5 would have none. */
const window = 1

const totp = (issuer: string, label: string, secret: Uint8Array) =>
  // SHA-1 and six digits are all that every authenticator app understands; HMAC-SHA-1 is not broken by collisions (RFC 6238 §B).
  new TOTP({
    issuer,
    label,
    issuerInLabel: true,
    algorithm: 'SHA1',
    digits,
    period: periodSeconds,
    secret: toSecret(secret),
  })

/** The secret as people type it (base32) and as apps scan it (otpauth:// in a QR code). */
export function presentTotp(issuer: string, label: string, secret: Uint8Array): { secret: string; uri: string } {
  return { secret: toSecret(secret).base32, uri: totp(issuer, label, secret).toString() }
}

/** The time step (RFC 6238 §4.2) whose code this is, at most one away from now; undefined when it is none of them. */
export function findTotpStep(secret: Uint8Array, code: string, nowMs: number): number | undefined {
  const token = code.replace(/[\s-]/g, '')
  if (!/^\d{6}$/.test(token)) return undefined
  const delta = totp('', '', secret).validate({ token, timestamp: nowMs, window })
  return delta === null ? undefined : Math.floor(nowMs / 1000 / periodSeconds) + delta
}

/** The code of a moment: for tests and the tools of people who keep their own secret. */
export function totpCodeAt(secretBase32: string, nowMs: number): string {
  return totp('', '', new Uint8Array(Secret.fromBase32(secretBase32).bytes)).generate({ timestamp: nowMs })
}

function toSecret(bytes: Uint8Array): Secret {
  return new Secret({ buffer: Uint8Array.from(bytes).buffer })
}

import type { Context } from '../platform/context.ts'
import {
  DeviceProofRefused,
  type ProofRefusal,
  proofToleranceSeconds,
  verifyDeviceProof,
} from '../platform/crypto/device-proof.ts'
import { sha256Base64url } from '../platform/crypto/hash.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { deleteExpiredProofs, insertProof } from './queries.ts'

/** RFC 9449 §7.1. */
const challenge = { 'www-authenticate': 'DPoP algs="EdDSA Ed25519 ES256"' }
/** Longer than a proof can be used, also when replicas' clocks differ by the tolerance. */
const rememberedMs = 3 * proofToleranceSeconds * 1000

/**
 * The RFC 7638 thumbprint of the key that made the proof in the header `DPoP`. The form is that of RFC 9449: a JWT of type `dpop+jwt`,
 * signed with EdDSA (Ed25519) or ES256, whose header holds `typ`, `alg` and the bare public `jwk`, and whose claims are `jti` (16 to 200
 * visible characters, new each time), `htm`, `htu` (the server's public address, which is the `iss` of its access tokens, and the path),
 * `iat` within a minute of our time, and, where a token goes along, `ath`: the base64url SHA-256 of that token.
 *
 * A proof works once: of any number of requests with it at once one gets through. Throws `device_proof_required` without a proof and
 * `invalid_device_proof` for any that does not hold. Not within a transaction that may fail afterwards: what is used must stay used.
 */
export async function readDeviceProof(
  ctx: Context,
  db: Db,
  header: string | undefined,
  target: { method: string; path: string; token?: string },
): Promise<string> {
  if (header === undefined) throw deviceProofMissing(header)
  const url = `${ctx.config.publicUrl}${target.path}`
  const tokenHash = target.token === undefined ? undefined : sha256Base64url(target.token)
  try {
    const proof = await verifyDeviceProof(header, { method: target.method, url, tokenHash }, ctx.clock.now())
    const forgetAt = Math.max(ctx.clock.now(), proof.issuedAtMs) + rememberedMs
    if (await insertProof(db, proof.nonce, forgetAt)) return proof.thumbprint
  } catch (error) {
    if (!(error instanceof DeviceProofRefused)) throw error
    const detail = reasons[error.reason].replace('{target}', `${target.method} ${url}`)
    throw refused(error.reason, detail)
  }
  throw refused('replayed', 'The proof was already used')
}

/** The refusal where a session is bound to a key and the request proved none, or another. */
export function deviceProofMissing(header: string | undefined): AppError {
  if (header === undefined) return new AppError('device_proof_required', {}, { headers: challenge })
  return refused('other_key', 'The proof must be made with the key that the session is bound to')
}

function refused(reason: string, detail: string): AppError {
  return new AppError('invalid_device_proof', { reason }, { detail, headers: challenge })
}

/** The thumbprint of the key that a login offers its session to be bound to; null when it offers none. A proof that does not hold is refused, not passed over. */
export async function readOfferedKey(
  ctx: Context,
  header: string | undefined,
  target: { method: string; path: string },
): Promise<string | null> {
  return header === undefined ? null : readDeviceProof(ctx, ctx.db.kysely, header, target)
}

/** Requires a fresh proof of this very key; nothing where there is no key to prove. */
export async function requireDeviceKey(
  ctx: Context,
  header: string | undefined,
  target: { method: string; path: string },
  deviceKey: string | null,
): Promise<void> {
  if (deviceKey === null) return
  if ((await readDeviceProof(ctx, ctx.db.kysely, header, target)) !== deviceKey) throw deviceProofMissing(header)
}

/** Forgets the proofs that are too old to be used again. */
export async function pruneProofs(ctx: Context): Promise<void> {
  await deleteExpiredProofs(ctx.db.kysely, ctx.clock.now())
}

const reasons: Readonly<Record<ProofRefusal, string>> = {
  malformed:
    'The header DPoP must hold one JWT of type dpop+jwt with typ, alg and jwk in its header and a jti of 16 to 200 characters',
  key: 'The key must be a bare public JWK: Ed25519 with EdDSA, or P-256 with ES256',
  signature: 'The proof is not signed by the key in its header',
  target: 'The proof must be made for {target}',
  token: 'The proof must hold in ath the base64url SHA-256 of the token that goes along, and no ath without one',
  stale: 'The proof is older than a minute or from the future',
}

import { createHmac, sign, timingSafeEqual, verify } from 'node:crypto'
import { contentDigest, contentDigestOf, parseContentDigest } from './content-digest.ts'
import { getKeyAlgorithm, type SignatureAlgorithm, type SignatureKey } from './keys.ts'

export const signatureLabel = 'hs'
export const signatureTag = 'hivesync-worker'
const coveredList = '"@method" "@path" "@query" "content-digest"'

const maxFieldLength = 512 // ours is under 260: long fields are refused before any parsing
const maxTargetLength = 8192
const signatureBytes: Record<SignatureAlgorithm, number> = { ed25519: 64, 'hmac-sha256': 32 }

const parameterPatterns = {
  created: /^[1-9][0-9]{0,10}$/,
  nonce: /^"([A-Za-z0-9_-]{22,64})"$/, // 22 base64url characters carry 128 bits
  keyid: /^"([A-Za-z0-9_-]{1,64})"$/,
  alg: /^"(ed25519|hmac-sha256)"$/,
  tag: /^"([a-z-]{1,32})"$/,
}
type ParameterName = keyof typeof parameterPatterns

export type SignatureRefusalCode =
  | 'signature_missing'
  | 'signature_malformed'
  | 'signature_components'
  | 'signature_expired'
  | 'signature_invalid'

/** Why a request's signature was refused; `reason` is for the log and never repeats what the request said. */
export interface SignatureRefusal {
  ok: false
  code: SignatureRefusalCode
  reason: string
}

export interface SignatureHeaders {
  'signature-input': string
  signature: string
  'content-digest': string
}

/** Header fields as Node gives them; a repeated field is refused. */
export type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>

export interface ParsedSignature {
  ok: true
  keyId: string
  nonce: string
  createdSeconds: number
  algorithm: SignatureAlgorithm
  contentDigest: string
  /** The `@signature-params` value exactly as received, because the signature covers its spelling. */
  parameters: string
  signature: Buffer
}

export interface VerifiedSignature {
  ok: true
  keyId: string
  nonce: string
  createdSeconds: number
}

/**
 * The signature base of RFC 9421 §2.5 for components already reduced to name and value. Throws a RangeError for a value
 * with a control or non-ASCII character: a line feed would let one component forge the next.
 */
export function signatureBase(components: readonly (readonly [name: string, value: string])[], parameters: string) {
  for (const [, value] of components) {
    if (!/^[\x20-\x7e]*$/.test(value)) throw new RangeError('a covered value is not printable ASCII')
  }
  const lines = components.map(([name, value]) => `"${name}": ${value}`)
  return [...lines, `"@signature-params": ${parameters}`].join('\n')
}

/**
 * Signs a request under RFC 9421 (label `hs`) and returns the three fields to send with it. `target` is path and query
 * as they go over the wire; `nonce` is at least 128 random bits in base64url, never used twice with one key. Of a body that is not in memory
 * its SHA-256 (hex) is enough.
 */
export function signRequest(request: {
  method: string
  target: string
  body: Uint8Array | { sha256: string }
  keyId: string
  key: SignatureKey
  createdSeconds: number
  nonce: string
}): SignatureHeaders {
  const { body } = request
  const digest = body instanceof Uint8Array ? contentDigest(body) : contentDigestOf(body.sha256)
  const algorithm = getKeyAlgorithm(request.key)
  const values: Record<ParameterName, string> = {
    created: String(request.createdSeconds),
    nonce: `"${request.nonce}"`,
    keyid: `"${request.keyId}"`,
    alg: `"${algorithm}"`,
    tag: `"${signatureTag}"`,
  }
  for (const [name, pattern] of parameterEntries()) {
    if (!pattern.test(values[name])) throw new RangeError(`signature parameter ${name} is malformed`)
  }
  const parameters = `(${coveredList})${parameterEntries()
    .map(([name]) => `;${name}=${values[name]}`)
    .join('')}`
  const base = requestBase(request.method, request.target, digest, parameters)
  if (base === undefined) throw new RangeError('method or target is malformed')
  const bytes = algorithm === 'ed25519' ? sign(null, base, request.key) : macOf(base, request.key)
  return {
    'signature-input': `${signatureLabel}=${parameters}`,
    signature: `${signatureLabel}=:${bytes.toString('base64')}:`,
    'content-digest': digest,
  }
}

/**
 * Reads the signature of a request before its body, so that the key can be looked up by `keyId`. Accepts exactly the
 * profile `signRequest` writes (parameters in any order, each once): one label, one component list, canonical base64.
 */
export function parseSignature(headers: IncomingHeaders): ParsedSignature | SignatureRefusal {
  const input = headers['signature-input']
  const field = headers.signature
  const digest = headers['content-digest']
  if (input === undefined || field === undefined || digest === undefined) {
    return refuse('signature_missing', 'a signature field is missing')
  }
  if (typeof input !== 'string' || typeof field !== 'string' || typeof digest !== 'string') {
    return refuse('signature_malformed', 'a signature field is repeated')
  }
  if (Math.max(input.length, field.length, digest.length) > maxFieldLength) {
    return refuse('signature_malformed', 'a signature field is too long')
  }
  const inner = /^hs=(\(([^()]*)\)(;[^()]*)?)$/.exec(input)
  const [, parameters, components, tail] = inner ?? []
  if (parameters === undefined) return refuse('signature_malformed', 'signature-input is malformed')
  // Fewer components would leave a part of the request open to change on the way.
  if (components !== coveredList) return refuse('signature_components', 'other components are covered than required')
  const values = parseParameters(tail ?? '')
  if (values === undefined) return refuse('signature_malformed', 'signature parameters are malformed')
  // The tag keeps a signature made for another protocol with the same key from being accepted here.
  if (values.tag !== signatureTag) return refuse('signature_malformed', 'the signature has another tag')
  const algorithm = values.alg === 'ed25519' ? 'ed25519' : 'hmac-sha256'
  const signature = parseSignatureField(field)
  if (signature?.length !== signatureBytes[algorithm]) return refuse('signature_malformed', 'signature is malformed')
  if (parseContentDigest(digest) === undefined) return refuse('signature_malformed', 'content-digest is malformed')
  return {
    ok: true,
    keyId: values.keyid,
    nonce: values.nonce,
    createdSeconds: Number(values.created),
    algorithm,
    contentDigest: digest,
    parameters,
    signature,
  }
}

/**
 * Verifies a parsed signature with the key found for its `keyId`. Ok says the method, target and `contentDigest` were
 * signed at most `maxSkewSeconds` ago or ahead; the caller still has to compare the body with `contentDigest` and to
 * refuse a nonce already seen with this key within twice the skew.
 */
export function verifySignature(
  parsed: ParsedSignature,
  request: { method: string; target: string; key: SignatureKey; nowSeconds: number; maxSkewSeconds?: number },
): VerifiedSignature | SignatureRefusal {
  const { keyId, nonce, createdSeconds, signature } = parsed
  const algorithm = getKeyAlgorithm(request.key)
  // The key decides: a header naming HMAC would turn the public key into a shared secret (algorithm confusion).
  if (parsed.algorithm !== algorithm) return refuse('signature_invalid', 'the key has another algorithm')
  if (!(Math.abs(request.nowSeconds - createdSeconds) <= (request.maxSkewSeconds ?? 300))) {
    return refuse('signature_expired', 'created is too far from the present')
  }
  const base = requestBase(request.method, request.target, parsed.contentDigest, parsed.parameters)
  if (base === undefined) return refuse('signature_malformed', 'method or target is malformed')
  const isGenuine =
    algorithm === 'ed25519'
      ? verify(null, base, request.key, signature)
      : timingSafeEqual(macOf(base, request.key), signature)
  return isGenuine ? { ok: true, keyId, nonce, createdSeconds } : refuse('signature_invalid', 'the signature is wrong')
}

function requestBase(method: string, target: string, digest: string, parameters: string): Buffer | undefined {
  if (!/^[A-Z]{1,16}$/.test(method) || target.length > maxTargetLength || !/^\/[\x21-\x7e]*$/.test(target)) {
    return undefined
  }
  const split = target.indexOf('?')
  const components = [
    ['@method', method],
    ['@path', split < 0 ? target : target.slice(0, split)],
    ['@query', split < 0 ? '?' : target.slice(split)], // an absent query counts as `?`, RFC 9421 §2.2.7
    ['content-digest', digest],
  ] as const
  return Buffer.from(signatureBase(components, parameters), 'latin1')
}

function parseParameters(text: string): Record<ParameterName, string> | undefined {
  const found = new Map<string, string>()
  for (const part of text.split(';').slice(1)) {
    const split = part.indexOf('=')
    const name = part.slice(0, split)
    if (split < 0 || found.has(name)) return undefined
    found.set(name, part.slice(split + 1))
  }
  const values = { created: '', nonce: '', keyid: '', alg: '', tag: '' }
  for (const [name, pattern] of parameterEntries()) {
    const match = pattern.exec(found.get(name) ?? '')
    if (match === null) return undefined
    values[name] = match[1] ?? match[0]
  }
  return found.size === Object.keys(values).length ? values : undefined
}

function parseSignatureField(field: string): Buffer | undefined {
  const encoded = /^hs=:([A-Za-z0-9+/]+={0,2}):$/.exec(field)?.[1]
  if (encoded === undefined) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  // Sloppy endings would give one signature many spellings, each a new "token" to a cache or a log.
  return bytes.toString('base64') === encoded ? bytes : undefined
}

function macOf(base: Buffer, key: SignatureKey): Buffer {
  return createHmac('sha256', key).update(base).digest()
}

function parameterEntries(): [ParameterName, RegExp][] {
  return Object.entries(parameterPatterns) as [ParameterName, RegExp][]
}

function refuse(code: SignatureRefusalCode, reason: string): SignatureRefusal {
  return { ok: false, code, reason }
}

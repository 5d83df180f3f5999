import { sign, verify } from 'node:crypto'
import { type Canonical, canonicalJson } from './canonical-json.ts'
import { getKeyAlgorithm, type SignatureKey } from './keys.ts'

/** Keeps a signature over a receipt from ever being one over something else: requests are signed with the same key. */
const context = 'hivesync-receipt-v1\n'
/** A completion as a whole has 256 KiB. */
const maxReceiptLength = 32 * 1024
const signaturePattern = /^[A-Za-z0-9_-]{86}$/

/** What limited and what was used, in one sandbox run. null is "not seen here", never "none". */
export interface ReceiptRun {
  /** The layers the run was held by: `namespaces`, `seccomp`, `cgroup-v2-memory`, … */
  readonly layers: readonly string[]
  /** The limits as they were set, by name: `wallMs`, `memoryBytes`, … */
  readonly limits: Readonly<Record<string, number>>
  /** Peaks and sums, by name: `wallMs`, `cpuMs`, `peakMemoryBytes`, `peakPids`, `outputBytes`, … */
  readonly usage: Readonly<Record<string, number | null>>
  readonly exitCode: number | null
  /** Which limit ended the run; null when it ended by itself. */
  readonly killed: string | null
}

/** One run among several of a job, as fetch, install and build of a preview. */
export interface ReceiptPhase extends ReceiptRun {
  readonly phase: string
}

/** What a worker answers for: one attempt at one job, under one lease. */
export interface ReceiptBody extends ReceiptRun {
  readonly version: 1
  readonly jobId: string
  /** The lease's fencing token, never given out twice: a receipt cannot pass for that of another attempt. */
  readonly token: number
  readonly attempt: number
  readonly workerId: string
  readonly kind: string
  /** ISO 8601, UTC, milliseconds. */
  readonly finishedAt: string
  /** In order; the members above are then those of the run that decided. */
  readonly phases?: readonly ReceiptPhase[]
}

export interface Receipt extends ReceiptBody {
  /** Which key signed; covered by the signature. */
  readonly keyId: string
  /** Ed25519 over the context line and the canonical JSON of everything else, base64url. */
  readonly signature: string
}

export type VerifiedReceipt = { ok: true; receipt: Receipt } | { ok: false; reason: 'malformed' | 'signature' }

/** What the server knows of the lease a receipt came with. */
export type ReceiptLease = Pick<ReceiptBody, 'jobId' | 'token' | 'attempt' | 'workerId'>

/** Signs a receipt; throws for another key than Ed25519 and a RangeError for a body `verifyReceipt` would refuse. */
export function signReceipt(key: SignatureKey, keyId: string, body: ReceiptBody): Receipt {
  requireEd25519(key)
  const unsigned = { ...body, keyId }
  const bytes = signedBytes(unsigned)
  const receipt = { ...unsigned, signature: sign(null, bytes, key).toString('base64url') }
  if (!isReceipt(receipt)) throw new RangeError('receipt: malformed')
  return receipt
}

/**
 * Checks shape and signature of whatever came in. Ok says: who holds the private half of `key` signed every member as it
 * stands. It does not say which lease that was about, see `isReceiptOf`. Throws only for another key than Ed25519.
 */
export function verifyReceipt(key: SignatureKey, value: unknown): VerifiedReceipt {
  requireEd25519(key)
  if (!isReceipt(value)) return { ok: false, reason: 'malformed' }
  const { signature, ...unsigned } = value
  const raw = Buffer.from(signature, 'base64url')
  // One signature has one spelling: Node reads sloppy base64 too.
  if (raw.toString('base64url') !== signature) return { ok: false, reason: 'malformed' }
  let bytes: Buffer
  try {
    bytes = signedBytes(unsigned)
  } catch (error) {
    if (error instanceof RangeError) return { ok: false, reason: 'malformed' }
    throw error
  }
  return verify(null, bytes, key, raw) ? { ok: true, receipt: value } : { ok: false, reason: 'signature' }
}

/** Whether a verified receipt is about this very lease: a genuine one of another job or attempt is a replay. */
export function isReceiptOf(receipt: Receipt, lease: ReceiptLease): boolean {
  return (
    receipt.jobId === lease.jobId &&
    receipt.token === lease.token &&
    receipt.attempt === lease.attempt &&
    receipt.workerId === lease.workerId
  )
}

function signedBytes(unsigned: Omit<Receipt, 'signature'>): Buffer {
  const text = canonicalJson(unsigned as unknown as Canonical)
  if (text.length > maxReceiptLength) throw new RangeError('receipt: too long')
  return Buffer.from(`${context}${text}`, 'utf8')
}

function requireEd25519(key: SignatureKey): void {
  if (getKeyAlgorithm(key) !== 'ed25519') throw new TypeError('receipts are signed with Ed25519')
}

const runMembers = ['layers', 'limits', 'usage', 'exitCode', 'killed']
const required = ['version', 'jobId', 'token', 'attempt', 'workerId', 'kind', 'finishedAt', 'keyId', 'signature']

function isReceipt(value: unknown): value is Receipt {
  if (!isRun(value, [...required, ...runMembers], ['phases'])) return false
  const { version, jobId, token, attempt, workerId, kind, finishedAt, keyId, signature, phases } = value
  return (
    version === 1 &&
    [jobId, workerId, kind, keyId].every(isName) &&
    isCount(token) &&
    token > 0 &&
    isCount(attempt) &&
    typeof finishedAt === 'string' &&
    isInstant(finishedAt) &&
    typeof signature === 'string' &&
    signaturePattern.test(signature) &&
    (phases === undefined || (Array.isArray(phases) && phases.length <= 16 && phases.every(isPhase)))
  )
}

function isPhase(value: unknown): boolean {
  return isRun(value, ['phase', ...runMembers], []) && isName(value.phase)
}

/** An object with exactly these members, the five of a run among them and well formed. */
function isRun(
  value: unknown,
  members: readonly string[],
  optional: readonly string[],
): value is Record<string, unknown> {
  if (!isRecord(value)) return false
  const names = Object.keys(value)
  if (!members.every((name) => Object.hasOwn(value, name))) return false
  if (!names.every((name) => members.includes(name) || optional.includes(name))) return false
  const { layers, limits, usage, exitCode, killed } = value
  return (
    Array.isArray(layers) &&
    layers.length <= 64 &&
    layers.every(isName) &&
    isRecord(limits) &&
    Object.entries(limits).every(([name, limit]) => isName(name) && isCount(limit)) &&
    isRecord(usage) &&
    Object.entries(usage).every(([name, used]) => isName(name) && (used === null || isCount(used))) &&
    (exitCode === null || isCount(exitCode)) &&
    (killed === null || isName(killed))
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const isName = (value: unknown): value is string => typeof value === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

function isInstant(text: string): boolean {
  const time = new Date(text)
  return !Number.isNaN(time.getTime()) && time.toISOString() === text
}

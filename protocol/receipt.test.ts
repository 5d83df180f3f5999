import assert from 'node:assert/strict'
import { sign } from 'node:crypto'
import { test } from 'node:test'
import { type Canonical, canonicalJson } from './canonical-json.ts'
import { generateEncodedKeyPair, importPrivateKey, importPublicKey, importSecret } from './keys.ts'
import { isReceiptOf, type Receipt, type ReceiptBody, signReceipt, verifyReceipt } from './receipt.ts'

const pair = generateEncodedKeyPair()
const privateKey = importPrivateKey(pair)
const publicKey = importPublicKey(pair.publicKey)
const run = {
  layers: ['namespaces', 'seccomp', 'cgroup-v2-memory'],
  limits: { wallMs: 60_000, memoryBytes: 268_435_456 },
  usage: { wallMs: 812, cpuMs: null, peakMemoryBytes: 7_340_032 },
  exitCode: 0,
  killed: null,
}
const body: ReceiptBody = {
  version: 1,
  jobId: '01935f6e-7cf1-7b3e-8a4d-3f2b1c0d9e8f',
  token: 42,
  attempt: 2,
  workerId: '01935f6e-7cf1-7b3e-8a4d-000000000001',
  kind: 'compute',
  ...run,
  finishedAt: '2030-01-02T03:04:05.678Z',
  phases: [{ phase: 'install', ...run, exitCode: null, killed: 'memory' }],
}
const receipt = signReceipt(privateKey, 'key-1', body)

test('a receipt that was signed verifies after a trip through JSON, its members in any order', () => {
  const traveled: unknown = JSON.parse(JSON.stringify(receipt))
  assert.deepEqual(verifyReceipt(publicKey, traveled), { ok: true, receipt: traveled })
  const turned = Object.fromEntries(Object.entries(receipt).reverse())
  assert.equal(verifyReceipt(publicKey, turned).ok, true)
  const { phases: _, ...plain } = body
  assert.equal(verifyReceipt(publicKey, signReceipt(privateKey, 'key-1', plain)).ok, true)
})

/** Every place a value stands at, as a path. */
function placesOf(value: unknown, path: readonly string[] = []): string[][] {
  const here = path.length === 0 ? [] : [[...path]]
  if (typeof value !== 'object' || value === null) return here
  return [...here, ...Object.entries(value).flatMap(([name, member]) => placesOf(member, [...path, name]))]
}

function changed(path: readonly string[], change: (value: unknown) => unknown): unknown {
  const copy: Record<string, unknown> = JSON.parse(JSON.stringify(receipt))
  let at: Record<string, unknown> = copy
  for (const name of path.slice(0, -1)) at = at[name] as Record<string, unknown>
  const last = String(path.at(-1))
  const value = change(at[last])
  if (value !== undefined) at[last] = value
  else if (Array.isArray(at)) at.splice(Number(last), 1)
  else delete at[last]
  return copy
}

test('a change of any member, at any depth, breaks the signature', () => {
  const places = placesOf(receipt)
  assert.ok(places.length > 30)
  for (const path of places) {
    for (const change of [
      (value: unknown) => (typeof value === 'number' ? value + 1 : typeof value === 'string' ? `${value}x` : 1),
      () => undefined,
      () => null,
    ]) {
      const forged = changed(path, change)
      if (JSON.stringify(forged) === JSON.stringify(receipt)) continue
      assert.equal(verifyReceipt(publicKey, forged).ok, false, path.join('.'))
    }
  }
})

test('well-formed changes fail for the signature, others for the shape', () => {
  const forge = (change: Partial<Receipt>) => verifyReceipt(publicKey, { ...receipt, ...change })
  const lies: Partial<Receipt>[] = [
    { jobId: '01935f6e-7cf1-7b3e-8a4d-3f2b1c0d9e80' },
    { token: 43 },
    { attempt: 1 },
    { workerId: 'other' },
    { finishedAt: '2030-01-02T03:04:05.679Z' },
    { killed: 'wall' },
    { exitCode: 1 },
    { keyId: 'key-2' },
    { layers: [...run.layers, 'user-slot'] },
    { limits: {} },
  ]
  for (const change of lies) assert.deepEqual(forge(change), { ok: false, reason: 'signature' }, JSON.stringify(change))
  const nonsense: Record<string, unknown>[] = [
    { version: 2 },
    { token: 0 },
    { token: 1.5 },
    { token: 2 ** 53 },
    { token: '42' },
    { attempt: -1 },
    { extra: 1 },
    { layers: 'namespaces' },
    { layers: ['a\nb'] },
    { finishedAt: '2030-01-02' },
    { finishedAt: '2030-02-31T00:00:00.000Z' },
    { usage: { cpuMs: 'much' } },
    { phases: [{}] },
    { phases: Array.from({ length: 17 }, () => body.phases?.[0]) },
    { signature: receipt.signature.slice(1) },
    { limits: Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [`limit${at}`, at])) },
  ]
  for (const change of nonsense) {
    assert.deepEqual(forge(change as Partial<Receipt>), { ok: false, reason: 'malformed' }, JSON.stringify(change))
  }
  for (const value of [null, undefined, 1, 'receipt', [], [receipt]]) {
    assert.deepEqual(verifyReceipt(publicKey, value), { ok: false, reason: 'malformed' })
  }
})

test('a signature has one spelling', () => {
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const end = receipt.signature.at(-1) ?? ''
  const sloppy = `${receipt.signature.slice(0, -1)}${last.charAt(last.indexOf(end) + 1)}`
  assert.deepEqual(Buffer.from(sloppy, 'base64url'), Buffer.from(receipt.signature, 'base64url'))
  assert.deepEqual(verifyReceipt(publicKey, { ...receipt, signature: sloppy }), { ok: false, reason: 'malformed' })
})

test('another key, or a signature over the same bytes without the context, is none', () => {
  const other = importPublicKey(generateEncodedKeyPair().publicKey)
  assert.deepEqual(verifyReceipt(other, receipt), { ok: false, reason: 'signature' })
  const { signature: _, ...unsigned } = receipt
  const bare = sign(null, Buffer.from(canonicalJson(unsigned as unknown as Canonical)), privateKey)
  const forged = { ...unsigned, signature: bare.toString('base64url') }
  assert.deepEqual(verifyReceipt(publicKey, forged), { ok: false, reason: 'signature' })
})

test('a shared secret neither signs nor verifies a receipt', () => {
  const secret = importSecret(Buffer.alloc(32, 1))
  assert.throws(() => signReceipt(secret, 'key-1', body), TypeError)
  assert.throws(() => verifyReceipt(secret, receipt), TypeError)
})

test('what would not verify is not signed', () => {
  for (const change of [{ token: 0 }, { finishedAt: 'today' }, { kind: '' }, { usage: { cpuMs: NaN } }]) {
    assert.throws(() => signReceipt(privateKey, 'key-1', { ...body, ...change }), RangeError, JSON.stringify(change))
  }
})

test('a genuine receipt of another job, attempt, lease or worker is not this lease’s', () => {
  const { jobId, token, attempt, workerId } = body
  assert.equal(isReceiptOf(receipt, { jobId, token, attempt, workerId }), true)
  for (const other of [{ jobId: 'x' }, { token: 41 }, { attempt: 1 }, { workerId: 'x' }]) {
    assert.equal(isReceiptOf(receipt, { jobId, token, attempt, workerId, ...other }), false)
  }
})

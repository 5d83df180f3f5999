import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { createWebhookSigner, encodeWebhookSecret, generateWebhookKey } from './webhook-signer.ts'

const body = '{"type":"job.succeeded","data":{"name":"é"}}'
const now = () => Math.floor(Date.now() / 1000)

function isSignedByPrivateHalf(publicKey: string, content: string, header: string): boolean {
  const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return header
    .split(' ')
    .filter((signature) => signature.startsWith('v1a,'))
    .some((signature) => verify(null, Buffer.from(content), key, Buffer.from(signature.slice(4), 'base64')))
}

test('a message verifies by the shared secret, as the standard’s own library does it, and by the public key', () => {
  const key = generateWebhookKey()
  const timestamp = now()
  const header = createWebhookSigner([key]).sign('msg_1', timestamp, body)
  const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(timestamp), 'webhook-signature': header }
  assert.deepEqual(new Webhook(encodeWebhookSecret(key.secret)).verify(body, headers), JSON.parse(body))
  assert.ok(isSignedByPrivateHalf(key.publicKey, `msg_1.${timestamp}.${body}`, header))
  assert.match(key.publicKey, /^whpk_[A-Za-z0-9+/]{43}=$/)
})

test('changed in any part, it verifies by neither', () => {
  const key = generateWebhookKey()
  const timestamp = now()
  const header = createWebhookSigner([key]).sign('msg_1', timestamp, body)
  const oracle = new Webhook(encodeWebhookSecret(key.secret))
  for (const [id, at, text] of [
    ['msg_2', timestamp, body],
    ['msg_1', timestamp - 1, body],
    ['msg_1', timestamp, `${body} `],
  ] as const) {
    const headers = { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': header }
    assert.throws(() => oracle.verify(text, headers))
    assert.ok(!isSignedByPrivateHalf(key.publicKey, `${id}.${at}.${text}`, header))
  }
})

test('with several keys, each verifies by itself: the secret is changed without a gap', () => {
  const keys = [generateWebhookKey(), generateWebhookKey()]
  const timestamp = now()
  const header = createWebhookSigner(keys).sign('msg_1', timestamp, body)
  const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(timestamp), 'webhook-signature': header }
  for (const key of keys) {
    new Webhook(encodeWebhookSecret(key.secret)).verify(body, headers)
    assert.ok(isSignedByPrivateHalf(key.publicKey, `msg_1.${timestamp}.${body}`, header))
  }
  assert.throws(() => new Webhook(encodeWebhookSecret(generateWebhookKey().secret)).verify(body, headers))
})

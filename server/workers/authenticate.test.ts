import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { contentDigest } from '@hivesync/protocol/content-digest.ts'
import { type EncodedKeyPair, generateEncodedKeyPair, importPrivateKey, importSecret } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { createApp } from '../app.ts'

const target = protocol.heartbeat.path
const body = '{"leases":[]}'

async function enrol(hive: Hive): Promise<{ id: string; pair: EncodedKeyPair }> {
  const { token } = await hive.admin()
  const { body: enrolment } = await hive.call(createEnrolment, { token, body: {} })
  const pair = generateEncodedKeyPair()
  const { enrolmentToken } = enrolment
  const reply = await hive.call(protocol.enrolWorker, {
    body: { enrolmentToken, name: 'drone', publicKey: pair.publicKey },
  })
  return { id: reply.body.workerId, pair }
}

interface Signing {
  agoSeconds?: number
  nonce?: string
  target?: string
  method?: string
  body?: string
  keyId?: string
  pair?: EncodedKeyPair
}

function sign(hive: Hive, { id, pair }: { id: string; pair: EncodedKeyPair }, options: Signing = {}) {
  return {
    'content-type': 'application/json',
    ...signRequest({
      method: options.method ?? 'POST',
      target: options.target ?? target,
      body: Buffer.from(options.body ?? body),
      keyId: options.keyId ?? id,
      key: importPrivateKey(options.pair ?? pair),
      createdSeconds: Math.floor(hive.clock.now() / 1000) - (options.agoSeconds ?? 0),
      nonce: options.nonce ?? hive.ctx.random.token(16),
    }),
  }
}

const send = async (hive: Hive, headers: Record<string, string>, options: { url?: string; body?: string } = {}) => {
  const reply = await hive.inject({
    method: 'POST',
    url: options.url ?? target,
    headers,
    payload: options.body ?? body,
  })
  return reply.statusCode === 200 ? 'ok' : `${reply.statusCode} ${reply.json().code}`
}

describeHive('requests of workers', (open, { dialect }) => {
  test('a signed request is let in once: sent again it is refused, ten at once let in one', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const headers = sign(hive, worker)
    assert.equal(await send(hive, headers), 'ok')
    assert.equal(await send(hive, headers), '401 signature_replayed')
    const twins = sign(hive, worker)
    const replies = await Promise.all(Array.from({ length: 10 }, () => send(hive, twins)))
    assert.equal(replies.filter((reply) => reply === 'ok').length, 1)
    assert.equal(replies.filter((reply) => reply === '401 signature_replayed').length, 9)
  })

  test('a nonce is remembered for as long as its signature would be accepted', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    // From five minutes ahead it is acceptable for ten minutes.
    const headers = sign(hive, worker, { agoSeconds: -300 })
    assert.equal(await send(hive, headers), 'ok')
    for (let minute = 0; minute < 10; minute++) {
      hive.clock.advance(60_000)
      assert.equal(await send(hive, headers), '401 signature_replayed', `minute ${minute}`)
    }
    hive.clock.advance(1000)
    assert.equal(await send(hive, headers), '401 signature_expired')
  })

  test('an altered body, path, query, method or digest is refused', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const altered = '{"leases":[1]}'
    assert.equal(await send(hive, sign(hive, worker), { body: altered }), '400 digest_mismatch')
    const swapped = { ...sign(hive, worker), 'content-digest': contentDigest(Buffer.from(altered)) }
    assert.equal(await send(hive, swapped, { body: altered }), '401 signature_invalid')
    assert.equal(await send(hive, sign(hive, worker, { target: '/api/v1/worker/claims' })), '401 signature_invalid')
    assert.equal(await send(hive, sign(hive, worker), { url: `${target}?x=1` }), '401 signature_invalid')
    assert.equal(await send(hive, sign(hive, worker, { method: 'PUT' })), '401 signature_invalid')
    const none = sign(hive, worker, { body: '' })
    assert.equal(await send(hive, none), '400 digest_mismatch')
    assert.equal(await send(hive, sign(hive, worker)), 'ok')
  })

  test("one lease's signature does not open another's path", async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const at = (token: number) => `/api/v1/worker/leases/${token}/complete`
    const headers = sign(hive, worker, { target: at(1), body: '{"outcome":"succeeded"}' })
    assert.equal(await send(hive, headers, { url: at(2), body: '{"outcome":"succeeded"}' }), '401 signature_invalid')
  })

  test('a foreign key, an unknown worker, another algorithm and a shared secret made of the public key are refused', async () => {
    await using hive = await open()
    const [worker, other] = [await enrol(hive), await enrol(hive)]
    assert.equal(await send(hive, sign(hive, worker, { pair: other.pair })), '401 signature_invalid')
    assert.equal(await send(hive, sign(hive, worker, { keyId: other.id })), '401 signature_invalid')
    assert.equal(await send(hive, sign(hive, worker, { keyId: 'nobody' })), '401 worker_revoked')
    const forged = signRequest({
      ...{ method: 'POST', target, body: Buffer.from(body), keyId: worker.id, nonce: hive.ctx.random.token(16) },
      key: importSecret(Buffer.from(worker.pair.publicKey)),
      createdSeconds: Math.floor(hive.clock.now() / 1000),
    })
    assert.equal(await send(hive, { ...forged, 'content-type': 'application/json' }), '401 signature_invalid')
  })

  test('a signature older than five minutes, or further ahead, is refused', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    hive.clock.advance(600_000)
    assert.equal(await send(hive, sign(hive, worker, { agoSeconds: 300 })), 'ok')
    assert.equal(await send(hive, sign(hive, worker, { agoSeconds: 301 })), '401 signature_expired')
    assert.equal(await send(hive, sign(hive, worker, { agoSeconds: -300 })), 'ok')
    assert.equal(await send(hive, sign(hive, worker, { agoSeconds: -301 })), '401 signature_expired')
  })

  test('missing, repeated and mangled signature fields are refused, and so are tokens of people', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const headers = sign(hive, worker)
    for (const name of ['signature', 'signature-input', 'content-digest'] as const) {
      const { [name]: _gone, ...rest } = headers
      assert.match(await send(hive, rest), /^40[01] /, name)
      assert.match(await send(hive, { ...headers, [name]: `${headers[name]}, ${headers[name]}` }), /^40[01] /, name)
      assert.match(await send(hive, { ...headers, [name]: '' }), /^40[01] /, name)
    }
    const fewer = headers['signature-input'].replace(' "content-digest"', '')
    assert.equal(await send(hive, { ...headers, 'signature-input': fewer }), '401 signature_components')
    const { token } = await hive.admin()
    const bearer = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    assert.equal(await send(hive, bearer), '401 signature_missing')
    assert.equal(await send(hive, headers), 'ok', 'none of these has used the nonce up')
  })

  test('a request that was signed before the server started is refused where nonces are kept in memory', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const before = sign(hive, worker)
    assert.equal(await send(hive, before), 'ok')
    hive.clock.advance(2000)
    const restarted = createApp(hive.ctx)
    await restarted.ready()
    const reply = await restarted.inject({ method: 'POST', url: target, headers: before, payload: body })
    assert.equal(reply.statusCode, 401)
    assert.equal(reply.json().code, dialect === 'sqlite' ? 'signature_expired' : 'signature_replayed')
    const fresh = await restarted.inject({ method: 'POST', url: target, headers: sign(hive, worker), payload: body })
    assert.equal(fresh.statusCode, 200)
    await restarted.close()
  })

  test('an expired worker is refused', async () => {
    await using hive = await open()
    const worker = await enrol(hive)
    const expiresAt = hive.clock.now() + 1000
    await hive.ctx.db.kysely.updateTable('workers').set({ expiresAt }).where('id', '=', worker.id).execute()
    assert.equal(await send(hive, sign(hive, worker)), 'ok')
    hive.clock.advance(1000)
    assert.equal(await send(hive, sign(hive, worker)), '401 worker_revoked')
  })
})

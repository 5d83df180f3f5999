import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import test from 'node:test'
import { deactivateUser, setUserRole } from '@hivesync/contracts/admin.ts'
import { removeTotp } from '@hivesync/contracts/mfa.ts'
import { rotateSigningKeys } from '@hivesync/contracts/sessions.ts'
import { describeAct } from './index.ts'
import { openClient } from './test-support/open-client.ts'
import { startPeer } from './test-support/peer.ts'
import { idOf } from './test-support/samples.ts'

test('an act is described by its operation, its parameters and the very bytes of the body that are sent', async () => {
  await using peer = await startPeer()
  const client = openClient({ server: peer.url, credentials: { kind: 'api-key', apiKey: 'hs_key' } })
  const sent: { digest: string; proof: unknown }[] = []
  peer.onRaw(setUserRole, async (request, response) => {
    const digest = createHash('sha256')
      .update(await buffer(request))
      .digest('base64url')
    sent.push({ digest, proof: request.headers['step-up'] })
    response.writeHead(418).end()
  })
  const input = { params: { userId: idOf(1) }, body: { isAdmin: true } }
  const act = await describeAct(setUserRole, input)
  await assert.rejects(client.call(setUserRole, { ...input, stepUp: 'proof' }))
  await assert.rejects(client.call(setUserRole, input))
  assert.deepEqual(act, { operation: 'setUserRole', params: { userId: idOf(1) }, bodyDigest: sent[0]?.digest })
  assert.deepEqual(
    sent.map(({ proof }) => proof),
    ['proof', undefined],
  )
})

test('what an operation does not have is not in its act', async () => {
  assert.deepEqual(await describeAct(removeTotp, {}), { operation: 'removeTotp' })
  const params = { userId: idOf(1) }
  assert.deepEqual(await describeAct(deactivateUser, { params }), { operation: 'deactivateUser', params })
  const [empty, emergency] = [{}, { emergency: true }]
  const digests = [empty, emergency].map((body) => describeAct(rotateSigningKeys, { body }))
  const [first, second] = await Promise.all(digests)
  assert.ok(first?.bodyDigest !== undefined && first.bodyDigest !== second?.bodyDigest)
})

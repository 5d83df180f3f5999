import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import * as contract from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'

describeHive('the admin operations of signing keys', (open) => {
  let hive: Hive
  let admin: Person
  before(async () => {
    hive = await open()
    admin = await hive.admin()
  })

  test('an admin sees the keys, and nothing private of them', async () => {
    const reply = await hive.call(contract.listSigningKeys, { token: admin.token })
    const published = await hive.call(contract.getKeySet)
    const { current, next, previous } = reply.body
    assert.deepEqual(published.body.keys.map(({ kid }) => kid).sort(), [current.id, next.id].sort())
    assert.deepEqual([current.state, next.state, previous], ['current', 'next', []])
    assert.equal(Date.parse(next.signsFrom) - Date.parse(next.createdAt), 60 * 60 * 1000)
    const rows = await hive.ctx.db.kysely.selectFrom('signingKeys').selectAll().execute()
    for (const row of rows) assert.ok(!JSON.stringify(reply.body).includes(row.sealedPrivateKey))
  })

  test('nobody else sees or rotates them', async () => {
    const { token } = await hive.person('eve')
    for (const reply of [
      await hive.call(contract.listSigningKeys, { token }),
      await hive.call(contract.rotateSigningKeys, { token, body: { emergency: true } }),
    ])
      assert.deepEqual([reply.status, reply.problem.code], [403, 'permission_denied'])
    assert.equal((await hive.call(contract.listSigningKeys)).status, 401)
  })

  test('rotating needs a fresh proof of the admin, for this very act', async () => {
    const { token } = admin
    const bare = await hive.call(contract.rotateSigningKeys, { token, body: {} })
    assert.deepEqual([bare.status, bare.problem.code], [403, 'step_up_required'])
    const headers = await hive.stepUp(admin, contract.rotateSigningKeys, { body: {} })
    const other = await hive.call(contract.rotateSigningKeys, { token, body: { emergency: true }, headers })
    assert.equal(other.problem.code, 'step_up_required')
    assert.equal((await hive.call(contract.listSigningKeys, { token })).status, 200)
  })

  test('an emergency rotation over HTTP ends the admin’s own access token too', async () => {
    const body = { emergency: true }
    const headers = await hive.stepUp(admin, contract.rotateSigningKeys, { body })
    const reply = await hive.call(contract.rotateSigningKeys, { token: admin.token, body, headers })
    assert.equal(reply.body.rotated, true)
    const after = await hive.call(contract.listSigningKeys, { token: admin.token })
    assert.equal(after.problem.code, 'invalid_token')
    const next = await hive.call(contract.refresh, { body: { refreshToken: admin.refreshToken } })
    const keys = await hive.call(contract.listSigningKeys, { token: next.body.accessToken })
    assert.equal(keys.body.current.id, reply.body.current.id)
  })
})

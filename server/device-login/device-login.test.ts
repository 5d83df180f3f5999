import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as contract from '@hivesync/contracts/device-login.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { createDevice, type Device } from '../sessions/test-device.ts'
import { pruneDeviceLogins } from './device-login.ts'

describeHive('a login on a device without a browser', (open) => {
  let hive: Hive
  let ada: Person
  before(async () => {
    hive = await open()
    ada = await hive.person('ada')
  })

  const start = async () => (await hive.call(contract.startDeviceLogin, { body: { deviceName: 'edge box' } })).body
  const poll = (deviceCode: string) => hive.call(contract.pollDeviceLogin, { body: { deviceCode } })
  async function approve(who: Person, userCode: string) {
    const body = { userCode }
    const headers = await hive.stepUp(who, contract.approveDeviceLogin, { body })
    return hive.call(contract.approveDeviceLogin, { token: who.token, body, headers })
  }

  test('gets its tokens once a signed-in person has approved it, and only once', async () => {
    const { deviceCode, userCode } = await start()
    assert.match(userCode, /^[A-Z]{4}-[A-Z]{4}$/)
    assert.equal((await poll(deviceCode)).problem.code, 'device_login_pending')
    const typed = userCode.toLowerCase().replace('-', ' ')
    const shown = await hive.call(contract.getDeviceLogin, { token: ada.token, body: { userCode: typed } })
    assert.equal(shown.body.deviceName, 'edge box')
    assert.equal((await approve(ada, typed)).status, 204)
    const replies = await Promise.all(Array.from({ length: 20 }, () => poll(deviceCode)))
    const let_in = replies.filter((reply) => reply.status === 200)
    assert.equal(let_in.length, 1)
    const { accessToken, session } = let_in[0]?.body ?? assert.fail()
    assert.deepEqual([session.deviceName, session.methods], ['edge box', ['pwd']])
    assert.equal((await hive.call(accounts.getMe, { token: accessToken })).body.id, ada.userId)
    assert.equal((await poll(deviceCode)).problem.code, 'invalid_device_code')
  })

  test('is approved with a fresh proof only, by one person, once', async () => {
    const { userCode, deviceCode } = await start()
    const bare = await hive.call(contract.approveDeviceLogin, { token: ada.token, body: { userCode } })
    assert.equal(bare.problem.code, 'step_up_required')
    const eve = await hive.person('eve')
    const replies = await Promise.all([approve(ada, userCode), approve(eve, userCode)])
    assert.deepEqual(replies.map((reply) => reply.status).sort(), [204, 404])
    assert.equal((await poll(deviceCode)).status, 200)
  })

  test('is turned away when it was denied, asks too often, or is too late', async () => {
    const denied = await start()
    await hive.call(contract.denyDeviceLogin, { token: ada.token, body: { userCode: denied.userCode } })
    assert.equal((await poll(denied.deviceCode)).problem.code, 'device_login_denied')
    const hasty = await start()
    await poll(hasty.deviceCode)
    assert.equal((await poll(hasty.deviceCode)).problem.code, 'slow_down')
    hive.clock.advance(5000)
    assert.equal((await poll(hasty.deviceCode)).problem.code, 'device_login_pending')
    const late = await start()
    hive.clock.advance(10 * 60_000)
    assert.equal((await approve(ada, late.userCode)).problem.code, 'invalid_user_code')
    assert.equal((await poll(late.deviceCode)).problem.code, 'invalid_device_code')
    ada = await hive.logInAgain('ada')
  })

  test('is let in by nobody who was deactivated after approving', async () => {
    const gone = await hive.person('gone')
    const { userCode, deviceCode } = await start()
    assert.equal((await approve(gone, userCode)).status, 204)
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', gone.userId).execute()
    assert.equal((await poll(deviceCode)).problem.code, 'invalid_device_code')
  })

  test('cannot be found by trying codes', async () => {
    const guesser = await hive.person('guesser')
    const guess = (userCode: string) => hive.call(contract.getDeviceLogin, { token: guesser.token, body: { userCode } })
    const replies = await Promise.all(Array.from({ length: 50 }, () => guess('BCDFGHJK')))
    const counts = Map.groupBy(replies, (reply) => reply.problem.code)
    assert.ok((counts.get('invalid_user_code')?.length ?? 50) <= 11)
    assert.ok((counts.get('login_throttled')?.length ?? 0) >= 39)
  })

  test('that showed a key at the start gets its tokens with that key only, and its session is bound to it', async () => {
    const [device, thief] = [await createDevice(), await createDevice()]
    const proofFor = async (who: Device, { method, path }: { method: string; path: string }) => {
      const url = `${hive.ctx.config.publicUrl}${path}`
      return { dpop: await who.prove({ method, url, atMs: hive.clock.now() }) }
    }
    const headers = await proofFor(device, contract.startDeviceLogin)
    const { deviceCode, userCode } = (await hive.call(contract.startDeviceLogin, { body: {}, headers })).body
    await approve(ada, userCode)
    const ask = async (more: Record<string, string>) =>
      hive.call(contract.pollDeviceLogin, { body: { deviceCode }, headers: more })
    assert.equal((await ask({})).problem.code, 'device_proof_required')
    assert.equal((await ask(await proofFor(thief, contract.pollDeviceLogin))).problem.code, 'invalid_device_proof')
    const reply = await ask(await proofFor(device, contract.pollDeviceLogin))
    assert.equal(reply.body.session.deviceBound, true)
    const refreshed = await hive.call(sessions.refresh, { body: { refreshToken: reply.body.refreshToken } })
    assert.equal(refreshed.problem.code, 'device_proof_required')
  })

  test('outlives the sign-out of the page that approved it', async () => {
    const page = await hive.logInAgain('ada')
    const { userCode, deviceCode } = await start()
    assert.equal((await approve(page, userCode)).status, 204)
    assert.equal((await hive.call(sessions.logOut, { token: page.token })).status, 204)
    assert.equal((await poll(deviceCode)).status, 200)
  })

  test('falls with the session that approved it, however that one was taken away', async () => {
    const owner = await hive.person('owner')
    const ways = {
      'its owner ended it': (thief: Person) =>
        hive.call(sessions.revokeSession, { token: owner.token, params: { sessionId: thief.sessionId } }),
      'its owner ended all others': () => hive.call(sessions.revokeOtherSessions, { token: owner.token }),
      'it signed out, and its owner ended all others': async (thief: Person) => {
        await hive.call(sessions.logOut, { token: thief.token })
        return hive.call(sessions.revokeOtherSessions, { token: owner.token })
      },
    }
    for (const [way, end] of Object.entries(ways)) {
      const thief = await hive.logInAgain('owner')
      const { userCode, deviceCode } = await start()
      assert.equal((await approve(thief, userCode)).status, 204)
      assert.equal((await end(thief)).status, 204, way)
      assert.equal((await poll(deviceCode)).problem.code, 'invalid_device_code', way)
    }
  })

  test('is let in by no approval that was under way when its session ended', async () => {
    const owner = await hive.person('owner')
    for (let round = 0; round < 20; round++) {
      const thief = await hive.logInAgain('owner')
      const { userCode, deviceCode } = await start()
      const request = { token: thief.token, body: { userCode } }
      const headers = await hive.stepUp(thief, contract.approveDeviceLogin, request)
      await Promise.all([
        hive.call(contract.approveDeviceLogin, { ...request, headers }),
        hive.call(sessions.revokeSession, { token: owner.token, params: { sessionId: thief.sessionId } }),
      ])
      assert.notEqual((await poll(deviceCode)).status, 200)
    }
  })

  test('leaves nothing behind when nobody decides it', async () => {
    const left = async () => hive.ctx.db.kysely.selectFrom('deviceAuthorizations').select('id').execute()
    await start()
    hive.clock.advance(10 * 60_000)
    await pruneDeviceLogins(hive.ctx)
    assert.deepEqual(await left(), [])
    ada = await hive.logInAgain('ada')
  })
})

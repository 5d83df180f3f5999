import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as mfa from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'
import { pendingPurposes } from '../mfa/mfa.ts'
import { system } from '../platform/actor.ts'
import { revoking } from '../platform/revocation.ts'

const dayMs = 24 * 60 * 60_000

describeHive('a known device', (open) => {
  /** A login by password alone; the token is there when the device was new. */
  async function logIn(hive: Hive, device?: { token?: string; name?: string }, login = 'ada') {
    const { body } = await hive.call(sessions.logIn, { body: { login, password, ...(device && { device }) } })
    assert.ok('accessToken' in body)
    return body
  }
  const newLogins = async (hive: Hive) => (await hive.mails()).filter(({ subject }) => subject.startsWith('New login'))

  test('is told of when it is new, but for a person’s first one', async () => {
    await using hive = await open()
    await hive.person('ada')
    assert.deepEqual(await newLogins(hive), [])
    const { deviceToken } = await logIn(hive, { name: 'laptop <b>"x"</b>' })
    assert.match(String(deviceToken), /^hsd_[A-Za-z0-9_-]{43}$/)
    const [mail, ...others] = await newLogins(hive)
    assert.equal(others.length, 0)
    assert.equal(mail?.to, 'ada@example.net')
    assert.match(mail?.text ?? '', /laptop/)
    assert.match(mail?.text ?? '', /network\s127\.0\.0\.0\/24/)
    assert.doesNotMatch(mail?.text ?? '', /127\.0\.0\.1[^:]/)
    assert.equal((await logIn(hive, { token: deviceToken ?? '' })).deviceToken, undefined)
    assert.equal((await newLogins(hive)).length, 1)
  })

  test('is stored as the hash of its token, and is nobody else’s', async () => {
    await using hive = await open()
    await hive.person('ada')
    await hive.person('eve')
    const { deviceToken = '' } = await logIn(hive)
    const rows = await hive.ctx.db.kysely.selectFrom('knownDevices').selectAll().execute()
    assert.ok(!JSON.stringify(rows).includes(deviceToken.slice(4)))
    const asEve = await logIn(hive, { token: deviceToken }, 'eve')
    assert.notEqual(asEve.deviceToken, undefined)
    for (const token of [rows[0]?.tokenHash ?? '', rows[0]?.id ?? '', `${deviceToken}x`, 'hsd_'])
      assert.notEqual((await logIn(hive, { token })).deviceToken, undefined)
  })

  test('is a stranger again after 180 days, and 50 newer ones', async () => {
    await using hive = await open()
    const { userId } = await hive.person('ada')
    const { deviceToken: old = '' } = await logIn(hive)
    hive.clock.advance(180 * dayMs)
    const { deviceToken: kept = '' } = await logIn(hive, { token: old })
    assert.notEqual(kept, '')
    for (let i = 0; i < 50; i++) {
      hive.clock.advance(1000)
      await logIn(hive)
    }
    assert.notEqual((await logIn(hive, { token: kept })).deviceToken, undefined)
    const rows = await hive.ctx.db.kysely.selectFrom('knownDevices').where('userId', '=', userId).select('id').execute()
    assert.equal(rows.length, 50)
  })

  test('is forgotten when all sessions end, and everything that was under way with them', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { deviceToken = '' } = await logIn(hive)
    const app = await hive.enrolTotp(ada)
    const { body: begun } = await hive.call(sessions.logIn, { body: { login: 'ada', password } })
    assert.ok('mfaRequired' in begun)
    await hive.stepUp(ada, mfa.startPasskey)
    await revoking(hive.ctx, system, (_tx, revoke) =>
      revoke({ sessionsOf: [{ userId: ada.userId, exceptId: null, reason: 'password_reset' }] }),
    )
    const body = { mfaToken: begun.mfaToken, method: 'totp' as const, code: app.code() }
    assert.equal((await hive.call(sessions.completeMfa, { body })).problem.code, 'invalid_mfa_token')
    const rows = await hive.ctx.db.kysely.selectFrom('oneTimeTokens').select('purpose').execute()
    assert.deepEqual(
      rows.filter(({ purpose }) => pendingPurposes.includes(purpose)),
      [],
    )
    const again = await hive.call(sessions.logIn, { body: { login: 'ada', password, device: { token: deviceToken } } })
    assert.ok('mfaRequired' in again.body)
    const known = hive.ctx.db.kysely.selectFrom('knownDevices').select('id').where('userId', '=', ada.userId)
    assert.deepEqual(await known.execute(), [])
  })
})

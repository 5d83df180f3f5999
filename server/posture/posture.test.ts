import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as contract from '@hivesync/contracts/oversight.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { parseConfig } from '../platform/config.ts'
import { readPosture } from './posture.ts'
import { listSettings } from './settings.ts'

describeHive('the posture', (open, each) => {
  const stateOf = async (hive: Hive, name: string) =>
    (await readPosture(hive.ctx)).find((check) => check.name === name)?.state

  test('is shown to admins, each risk with what to do about it, and names nobody', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    const ada = await hive.person('ada')
    assert.equal((await hive.call(contract.getPosture, { token: ada.token })).status, 403)
    const { items } = (await hive.call(contract.getPosture, { token: admin.token })).body
    assert.ok(items.length > 10)
    for (const { state, fix, name } of items) assert.equal(fix === null, state === 'good', name)
    assert.doesNotMatch(JSON.stringify(items), /@|example\.net|queen/)
    assert.ok(!items.some(({ detail }) => detail === 'It could not be looked at'))
  })

  test('changes with what it is about', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    assert.equal(await stateOf(hive, 'admins with a second factor'), 'risk')
    await hive.enrolTotp(admin)
    assert.equal(await stateOf(hive, 'admins with a second factor'), 'good')
    assert.equal(await stateOf(hive, 'registration'), 'advice')
    assert.equal(await stateOf(hive, 'audit log'), 'advice', each.dialect)
    assert.equal(await stateOf(hive, 'isolation of workers'), 'good')
    const worker = await hive.worker({ isolation: 'reduced' })
    await worker.claim()
    assert.equal(await stateOf(hive, 'isolation of workers'), 'advice')
  })

  test('that cannot be looked at is a risk, and the rest is shown all the same', async () => {
    await using hive = await open()
    await hive.ctx.db.close()
    const checks = await readPosture(hive.ctx)
    assert.ok(checks.some(({ state, detail }) => state === 'risk' && detail === 'It could not be looked at'))
    assert.ok(checks.some(({ state }) => state === 'good'))
  })
})

describe('settings', () => {
  test('are shown with where they come from, and no secret with its value', () => {
    const secret = 'q7Rz'.repeat(11)
    const shown = listSettings({
      HIVESYNC_SECRET: secret,
      HIVESYNC_SMTP_URL_FILE: '/run/secrets/smtp',
      HIVESYNC_PORT: '8080',
      HIVESYNC_AUDIT_SINK: `https://logs.example.net/services/${secret}?token=${secret}`,
      HIVESYNC_OTLP_URL: `https://traces.example.net/${secret}/v1/traces`,
      OTHER: secret,
    })
    const byName = new Map(shown.map((setting) => [setting.name, setting]))
    assert.deepEqual(byName.get('HIVESYNC_SECRET'), {
      name: 'HIVESYNC_SECRET',
      value: 'set',
      isSecret: true,
      from: 'environment',
    })
    assert.deepEqual(byName.get('HIVESYNC_SMTP_URL'), {
      name: 'HIVESYNC_SMTP_URL',
      value: 'set',
      isSecret: true,
      from: 'file',
    })
    assert.deepEqual(byName.get('HIVESYNC_PORT'), {
      name: 'HIVESYNC_PORT',
      value: '8080',
      isSecret: false,
      from: 'environment',
    })
    assert.equal(byName.get('HIVESYNC_AUDIT_SINK')?.value, 'https://logs.example.net')
    assert.equal(byName.get('HIVESYNC_OTLP_URL')?.value, 'https://traces.example.net')
    assert.equal(byName.get('HIVESYNC_HOST')?.from, 'default')
    assert.doesNotMatch(JSON.stringify(shown), new RegExp(`${secret}|/run/secrets`))
    assert.ok(!byName.has('OTHER'))
  })

  test('are all that the configuration knows: none is read that is not shown', () => {
    const names = new Set(listSettings({}).map(({ name }) => name))
    for (const name of names) assert.match(name, /^(HIVESYNC|PHAROS)_/)
    assert.throws(() => parseConfig({ HIVESYNC_NO_SUCH: '1' }), /HIVESYNC_NO_SUCH is not a setting/)
    assert.ok(names.has('HIVESYNC_REDIS_URL') && names.has('HIVESYNC_CORS_ORIGINS'))
  })
})

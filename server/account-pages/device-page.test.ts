import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as device from '@hivesync/contracts/device-login.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { systemClock } from '../platform/clock.ts'
import { totpCodeAt } from '../platform/crypto/totp.ts'
import { openScene, skip } from './test-browser.ts'

describeHive(
  'the page that lets a device in',
  (open) => {
    const openWith = () => openScene((config) => open({ config, clock: systemClock }))
    const begin = async (hive: Hive) =>
      (await hive.call(device.startDeviceLogin, { body: { deviceName: 'honeycomb printer' } })).body
    const poll = (hive: Hive, { deviceCode }: { deviceCode: string }) =>
      hive.call(device.pollDeviceLogin, { body: { deviceCode } })
    /** The sessions of somebody but those that the test itself began. */
    const sessionsOf = async (hive: Hive, username: string) => {
      const { token, sessionId } = await hive.person(username)
      const { items } = (await hive.call(sessions.listSessions, { token })).body
      return items.filter(({ id }) => id !== sessionId)
    }

    test('adds a passkey, signs in with it, proves the approval with it, and the device gets its tokens', {
      skip,
    }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      await hive.person('ada')
      await page.goto(`${scene.url.replace('localhost', '127.0.0.1')}/account/passkeys`)
      await scene.shoot('sign-in')
      await scene.enter('ada')
      await page.getByText('There is no passkey').waitFor()
      assert.equal(new URL(page.url()).origin, scene.url)
      await page.getByLabel('Name for it').fill('laptop')
      await scene.shoot('factors-none')
      await scene.press('Add a passkey', 'Confirm that it is you')
      await page.getByLabel('Password', { exact: true }).fill('not the password at all')
      await page.getByRole('button', { name: 'Go on' }).click()
      await page.getByRole('alert').filter({ hasText: 'did not prove it is you' }).waitFor()
      await scene.shoot('prove-refused')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await scene.press('Go on', 'Make the passkey')
      await scene.press('Make the passkey', 'Your recovery codes')
      await scene.shoot('recovery-codes')
      await scene.press('I have kept them', 'How you sign in')
      await scene.press('Rename laptop', 'Rename a passkey')
      await page.getByLabel('Name').fill('old laptop')
      await scene.press('Save the name', 'How you sign in')
      await page.getByText('old laptop').waitFor()
      await scene.shoot('factors')
      await scene.press('Sign out', 'You are signed out')
      assert.deepEqual(await sessionsOf(hive, 'ada'), [])

      const started = await begin(hive)
      await page.goto(started.verificationUriComplete)
      assert.equal(page.url(), `${scene.url}/account/device`)
      await scene.press('Sign in with a passkey', 'Let this device in?')
      for (const text of [started.userCode, 'honeycomb printer', 'less than a minute ago', 'ada'])
        await page.getByText(text, { exact: true }).waitFor()
      await scene.shoot('decision')
      await scene.press('Approve', 'Confirm that it is you')
      await scene.shoot('prove-passkey')
      await scene.press('Use a passkey', 'The device is let in')
      await scene.shoot('let-in')
      assert.deepEqual(await sessionsOf(hive, 'ada'), [])
      const { accessToken } = (await poll(hive, started)).body
      assert.equal((await hive.call(accounts.getMe, { token: accessToken })).body.username, 'ada')
      await scene.requireClean([403])
    })

    test('takes a typed code, asks for the second factor twice, and turns a device away', { skip }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      const app = await hive.enrolTotp(await hive.person('bea'))
      const started = await begin(hive)
      await page.goto(started.verificationUri)
      await scene.shoot('code')
      await page.getByLabel('Code that the device shows').fill('BCDF')
      await page.getByRole('button', { name: 'Go on' }).click()
      await page.getByRole('alert').filter({ hasText: 'eight letters' }).waitFor()
      await page.getByLabel('Code that the device shows').fill('bbbb bbbb')
      await scene.press('Go on', 'Let a device in')
      await scene.enter('bea')
      await page.getByRole('heading', { name: 'One more step' }).waitFor()
      await scene.shoot('second-factor')
      const [first = '', second = ''] = app.recoveryCodes
      await scene.press('Use a recovery code', 'One more step')
      await page.getByLabel('Recovery code').fill(first)
      await page.getByRole('button', { name: 'Go on' }).click()
      // The code that was typed stands for nothing.
      await page.getByRole('alert').filter({ hasText: 'No device waits with this code' }).waitFor()
      await page.getByLabel('Code that the device shows').fill(started.userCode.toLowerCase())
      await scene.press('Go on', 'Let this device in?')
      await scene.press('Approve', 'Confirm that it is you')
      await scene.press('Cancel', 'Let this device in?')
      assert.equal((await poll(hive, started)).problem.code, 'device_login_pending')
      await scene.press('Approve', 'Confirm that it is you')
      await scene.press('Use a recovery code', 'Confirm that it is you')
      await page.getByLabel('Recovery code').fill(second)
      await scene.press('Go on', 'The device is let in')

      const other = await begin(hive)
      await page.goto(other.verificationUriComplete)
      await scene.enter('bea')
      await scene.press('Use a recovery code', 'One more step')
      await page.getByLabel('Recovery code').fill(app.recoveryCodes[2] ?? '')
      await scene.press('Go on', 'Let this device in?')
      await scene.press('Deny', 'The device is turned away')
      assert.equal((await poll(hive, other)).problem.code, 'device_login_denied')
      assert.deepEqual(await sessionsOf(hive, 'bea'), [])
      await scene.requireClean([404])
    })

    test('sets an authenticator app up and takes its code; a page that is left ends its session', {
      skip,
    }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      await hive.person('cleo')
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.enter('cleo')
      await scene.press('Set up an authenticator app', 'Confirm that it is you')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await scene.press('Go on', 'Set up an authenticator app')
      const link = await page.getByRole('link').getAttribute('href')
      assert.match(link ?? '', /^otpauth:\/\/totp\//)
      await scene.shoot('totp')
      const secret = new URL(link ?? '').searchParams.get('secret') ?? ''
      // Of the next step for the login: none is good twice.
      const codeIn = (ms: number) => totpCodeAt(secret, systemClock.now() + ms)
      await page.getByLabel('Code that the app shows then').fill(codeIn(0))
      await scene.press('Confirm', 'Your recovery codes')
      await scene.press('I have kept them', 'How you sign in')
      await page.getByText('Authenticator app, added').waitFor()
      await page.goto('about:blank')
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.enter('cleo')
      await page.getByLabel('Code of the authenticator app').fill('000000')
      await page.getByRole('button', { name: 'Go on' }).click()
      await page.getByRole('alert').filter({ hasText: 'That code is not right' }).waitFor()
      await page.getByLabel('Code of the authenticator app').fill(codeIn(30_000))
      await scene.press('Go on', 'How you sign in')
      assert.equal((await sessionsOf(hive, 'cleo')).length, 1)
      await page.goto(`${scene.url}/account/device`)
      // What a page sends when it is left nobody waits for.
      for (let i = 0; i < 2000 && (await sessionsOf(hive, 'cleo')).length > 0; i++);
      assert.deepEqual(await sessionsOf(hive, 'cleo'), [])
      await scene.requireClean([401])
    })

    test('the page signs out by itself before its one access token expires', { skip }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      await hive.person('dan')
      await page.clock.install()
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.enter('dan')
      await page.getByText('Signed in as').waitFor()
      await page.clock.fastForward(14 * 60_000)
      await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
      for (let i = 0; i < 2000 && (await sessionsOf(hive, 'dan')).length > 0; i++);
      assert.deepEqual(await sessionsOf(hive, 'dan'), [])
      await page.getByRole('button', { name: 'Start again' }).click()
      await page.getByLabel('User name or email address').waitFor()
    })
  },
  { only: 'sqlite' },
)

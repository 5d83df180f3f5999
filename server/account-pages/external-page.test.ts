import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as device from '@hivesync/contracts/device-login.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { startProvider, type TestProvider } from '../external/test-provider.ts'
import { systemClock } from '../platform/clock.ts'
import type { Config } from '../platform/config.ts'
import { openScene, type Scene, skip } from './test-browser.ts'

const button = 'Sign in with Test'

describeHive(
  'the page that the external provider sends the browser back to',
  (open) => {
    /** With a provider of its own, at which these people have accounts. */
    async function openWith(people: Record<string, Record<string, unknown>>, more: Partial<Config> = {}) {
      await using cleanup = new AsyncDisposableStack()
      let provider: TestProvider | undefined
      const scene: Scene = await openScene(async (config) => {
        provider = cleanup.use(await startProvider(`${config.publicUrl}/account/external`, people))
        const { issuer, clientId, clientSecret } = provider
        return open({
          config: { ...config, ...more, oidc: { issuer, clientId, clientSecret, name: 'Test' } },
          clock: systemClock,
        })
      })
      cleanup.use(scene)
      assert.ok(provider)
      const kept = cleanup.move()
      return { ...scene, provider, [Symbol.asyncDispose]: () => kept.disposeAsync() }
    }
    const begin = async (hive: Hive) => (await hive.call(device.startDeviceLogin, { body: {} })).body

    test('finishes the sign-in where it began, with nothing of it in the address, the history or the storage', {
      skip,
    }, async () => {
      await using scene = await openWith({ ada: { email: 'ada@example.net', email_verified: true } })
      const { hive, page, provider } = scene
      const ada = await hive.person('ada')
      await hive.ctx.db.kysely.updateTable('users').set({ emailVerifiedAt: 1 }).where('id', '=', ada.userId).execute()
      const started = await begin(hive)
      provider.signIn('ada')
      const addresses: string[] = []
      page.on('request', (request) => addresses.push(request.url()))
      await page.goto(started.verificationUriComplete)
      await page.getByRole('button', { name: button }).waitFor()
      await scene.shoot('external')
      await scene.press(button, 'Let this device in?')
      assert.equal(page.url(), `${scene.url}/account/device`)
      assert.ok(addresses.some((address) => address.includes('/account/external?code=')))
      await page.getByText(started.userCode, { exact: true }).waitFor()
      await scene.press('Approve', 'Confirm that it is you')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await scene.press('Go on', 'The device is let in')
      const { accessToken } = (await hive.call(device.pollDeviceLogin, { body: { deviceCode: started.deviceCode } }))
        .body
      assert.equal((await hive.call(accounts.getMe, { token: accessToken })).body.username, 'ada')
      const { items } = (await hive.call(sessions.listSessions, { token: accessToken })).body
      assert.equal(items.length, 2)
      await scene.requireClean([])
      // Back and forth in the history starts nothing anew.
      await page.goBack()
      await page.goForward()
      assert.equal((await hive.call(sessions.listSessions, { token: accessToken })).body.items.length, 2)
    })

    test('asks for the second factor that the account has, and tells who has none how to get a password', {
      skip,
    }, async () => {
      const vouchedFor = (name: string) => ({ email: `${name}@example.net`, email_verified: true })
      await using scene = await openWith({ ada: vouchedFor('ada'), bea: vouchedFor('bea') })
      const { hive, page, context, provider } = scene
      const ada = await hive.person('ada')
      await hive.ctx.db.kysely.updateTable('users').set({ emailVerifiedAt: 1 }).where('id', '=', ada.userId).execute()
      const { recoveryCodes } = await hive.enrolTotp(ada)
      provider.signIn('ada')
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.press(button, 'One more step')
      await scene.press('Use a recovery code', 'One more step')
      await page.getByLabel('Recovery code').fill(recoveryCodes[0] ?? '')
      await scene.press('Go on', 'How you sign in')
      await page.getByText('External sign-in, added').waitFor()

      await context.clearCookies()
      provider.signIn('bea')
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.press(button, 'How you sign in')
      await page.getByText('Signed in as').waitFor()
      await page.getByLabel('Name for it').fill('phone')
      await scene.press('Add a passkey', 'Set a password first')
      await scene.shoot('no-proof')
      await scene.press('Mail me the link', 'How you sign in')
      assert.match((await hive.mailTo('bea@example.net')).text, /\/account#reset=/)
      await scene.requireClean([])
    })

    test('takes an invitation along: whoever has no account gets one that is in the team', { skip }, async () => {
      const people = { dan: { email: 'dan@example.net', email_verified: true } }
      await using scene = await openWith(people, { registration: 'invite' })
      const { hive, page, provider } = scene
      const { token } = await hive.admin()
      const params = { teamId: (await hive.call(teams.createTeam, { token, body: { name: 'Apiary' } })).body.id }
      const body = { email: 'dan@example.net', role: 'member' as const }
      await hive.call(teams.createInvitation, { token, params, body })
      provider.signIn('dan')
      await page.goto(`${scene.url}/account/passkeys`)
      await page.getByRole('button', { name: button }).click()
      await page.getByRole('alert').filter({ hasText: 'Ask its admin for an invitation' }).waitFor()
      await page.goto(/http:\S+/.exec((await hive.mailTo('dan@example.net')).text)?.[0] ?? '')
      await scene.press('I have an account: sign in', 'You are invited')
      await scene.press(button, 'The account is there')
      const { items } = (await hive.call(teams.listTeamMembers, { token, params })).body
      assert.deepEqual(items.map(({ username }) => username).sort(), ['dan', 'queen'])
      await scene.requireClean([403])
    })

    test('links the account in a window of its own, for the one that began it, and unlinks it', { skip }, async () => {
      await using scene = await openWith({ cleo: { email: 'elsewhere@example.org', email_verified: false } })
      const { hive, page, context, provider } = scene
      await hive.person('cleo')
      provider.signIn('cleo')
      await page.goto(`${scene.url}/account/passkeys`)
      await scene.enter('cleo')
      await scene.press('Link Test', 'Confirm that it is you')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await scene.press('Go on', 'Link Test')
      await scene.shoot('link')
      await page.getByRole('button', { name: 'I am back' }).click()
      await page.getByRole('alert').filter({ hasText: 'not sent you back yet' }).waitFor()
      // Somebody else's answer, in another window, is not taken for the one that is waited for.
      const stranger = await context.newPage()
      await stranger.goto(`${scene.url}/account/external?code=planted&state=planted`)
      await stranger.getByRole('heading', { name: 'cannot be finished here' }).waitFor()
      const opened = context.waitForEvent('page')
      await page.getByRole('link', { name: 'Sign in with Test' }).click()
      await (await opened).getByRole('heading', { name: 'You can close this window' }).waitFor()
      await page.getByText('External sign-in, added').waitFor()
      await scene.shoot('linked')
      await scene.press('Remove Test', 'Unlink “Test”?')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await scene.press('Go on', 'How you sign in')
      await page.getByRole('button', { name: 'Link Test' }).waitFor()
      await scene.requireClean([])
    })

    test('shows nothing that stands in its address, and refuses what this window did not begin', { skip }, async () => {
      await using scene = await openWith({})
      const { hive, page, provider } = scene
      await hive.admin()
      for (const query of ['code=planted&state=planted&x=<b>', 'error=planted&error_description=planted', '']) {
        await page.goto(`${scene.url}/account/external?${query}`)
        await page.getByRole('heading', { name: 'cannot be finished here' }).waitFor()
        assert.equal(page.url(), `${scene.url}/account/external`)
        assert.ok(!(await page.content()).includes('planted'))
      }
      provider.signIn(null)
      await page.goto(`${scene.url}/account/device#BCDF-GHJK`)
      await page.getByRole('button', { name: button }).click()
      await page.getByRole('alert').filter({ hasText: 'turned down at the provider' }).waitFor()
      assert.equal(page.url(), `${scene.url}/account/device`)
      await page.getByText('BCDF-GHJK').waitFor()
      assert.ok(!(await page.content()).includes('<b>no'))
      assert.equal(await page.evaluate('sessionStorage.length + localStorage.length'), 0)
    })
  },
  { only: 'sqlite' },
)

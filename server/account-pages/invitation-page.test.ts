import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { systemClock } from '../platform/clock.ts'
import { openScene, skip } from './test-browser.ts'

describeHive(
  'the page that takes an invitation up',
  (open) => {
    const openWith = () => openScene((config) => open({ config, clock: systemClock }))
    /** Invites the address to a team of the admin; answers the link of the mail and who is in the team later. */
    async function invite(hive: Hive, email: string) {
      const { token } = await hive.admin()
      const params = { teamId: (await hive.call(teams.createTeam, { token, body: { name: 'Apiary' } })).body.id }
      await hive.call(teams.createInvitation, { token, params, body: { email, role: 'member' } })
      const [link = ''] = /http:\S+/.exec((await hive.mailTo(email)).text) ?? []
      const members = async () => {
        const { items } = (await hive.call(teams.listTeamMembers, { token, params })).body
        return items.map(({ username }) => username).sort()
      }
      return { link, members }
    }

    test('makes an account that is in the team, from the link of the mail', { skip }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      const { link, members } = await invite(hive, 'ada@example.net')
      await page.goto(link)
      await page.getByRole('heading', { name: 'You are invited' }).waitFor()
      assert.equal(page.url(), `${scene.url}/account/invitation`)
      await scene.shoot('invitation')
      await page.getByLabel('Email address').fill('eve@example.net')
      await page.getByLabel('User name').fill('ada')
      await page.getByLabel('Password', { exact: true }).fill('nine amber drones hum at noon')
      await page.getByRole('button', { name: 'Create the account' }).click()
      await page.getByRole('alert').filter({ hasText: 'not for the address of this account' }).waitFor()
      await page.getByLabel('Email address').fill('ada@example.net')
      await scene.press('Create the account', 'The account is there')
      await scene.shoot('invitation-made')
      assert.deepEqual(await members(), ['ada', 'queen'])
      assert.ok(!(await page.content()).includes('battery'))
      assert.equal(await page.evaluate('sessionStorage.length + localStorage.length'), 0)
    })

    test('joins who has an account once they agree to it and have proved the address', { skip }, async () => {
      await using scene = await openWith()
      const { hive, page } = scene
      const bea = await hive.person('bea')
      const { link, members } = await invite(hive, 'bea@example.net')
      await page.goto(link)
      await scene.press('I have an account: sign in', 'You are invited')
      await scene.enter('bea')
      await page.getByRole('heading', { name: 'Accept the invitation?' }).waitFor()
      await page.getByRole('button', { name: 'Accept' }).click()
      await page.getByRole('alert').filter({ hasText: 'not confirmed yet' }).waitFor()
      await page.getByRole('button', { name: 'Mail me the link' }).click()
      await page.getByRole('button', { name: 'The link is mailed' }).waitFor()
      await scene.shoot('invitation-accept')
      assert.match((await hive.mailTo('bea@example.net')).text, /\/account#verify=/)
      assert.deepEqual(await members(), ['queen'])
      await hive.ctx.db.kysely.updateTable('users').set({ emailVerifiedAt: 1 }).where('id', '=', bea.userId).execute()
      await scene.press('Accept', 'You are a member of Apiary')
      assert.deepEqual(await members(), ['bea', 'queen'])
      await scene.requireClean([403])
    })

    test('says so when the link has lost its end', { skip }, async () => {
      await using scene = await openWith()
      for (const fragment of ['', '#', '#%E0%A4%A', '#<b>x</b>']) {
        await scene.page.goto('about:blank')
        await scene.page.goto(`${scene.url}/account/invitation${fragment}`)
        await scene.page.getByRole('heading', { name: 'This link is not whole' }).waitFor()
      }
    })
  },
  { only: 'sqlite' },
)

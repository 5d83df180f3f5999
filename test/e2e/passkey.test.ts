// The browser's own half of the passkey ceremonies: what Chromium makes and sends is what the contract takes.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { chromium } from 'playwright-core'
import { describeHive } from '../harness/hive.ts'

const browser = '/usr/bin/chromium'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
const quiet = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update']

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

describeHive(
  'in Chromium',
  (open) => {
    test('a passkey is made, signs in alone, and signs in nowhere once it is removed', {
      skip: !isRequired && !existsSync(browser) && 'chromium is not installed',
    }, async () => {
      const port = await freePort()
      await using hive = await open({ config: { publicUrl: `http://127.0.0.1:${port}` } })
      await hive.app.listen({ port, host: '127.0.0.1' })
      const ada = await hive.person('ada')
      await using cleanup = new AsyncDisposableStack()
      // The sandbox of Chromium itself refuses to run as root.
      const args = [...quiet, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])]
      const chrome = await chromium.launch({ executablePath: browser, args })
      cleanup.defer(() => chrome.close())
      const page = await chrome.newPage()
      const devtools = await page.context().newCDPSession(page)
      await devtools.send('WebAuthn.enable')
      await devtools.send('WebAuthn.addVirtualAuthenticator', {
        options: {
          protocol: 'ctap2',
          transport: 'internal',
          hasResidentKey: true,
          hasUserVerification: true,
          isUserVerified: true,
          automaticPresenceSimulation: true,
        },
      })
      await page.goto(`http://localhost:${port}/`)
      /** What `navigator.credentials` answers in the page, in the browser's own JSON. */
      const ask = (what: 'create' | 'get', publicKey: object) =>
        page.evaluate(
          `(async () => {
          const { parseCreationOptionsFromJSON, parseRequestOptionsFromJSON } = PublicKeyCredential
          const options = ${JSON.stringify(publicKey)}
          const made = ${what === 'create'}
            ? await navigator.credentials.create({ publicKey: parseCreationOptionsFromJSON.call(PublicKeyCredential, options) })
            : await navigator.credentials.get({ publicKey: parseRequestOptionsFromJSON.call(PublicKeyCredential, options) })
          return made.toJSON()
        })()`,
        )

      const { token } = ada
      const headers = await hive.stepUp(ada, contract.startPasskey)
      const begun = (await hive.call(contract.startPasskey, { token, headers })).body
      const credential = (await ask('create', begun.publicKey)) as contract.NewPasskey
      const body = { challengeToken: begun.challengeToken, credential, name: 'Chromium' }
      const added = await hive.call(contract.addPasskey, { token, body })
      assert.equal(added.status, 201, JSON.stringify(added.problem))

      async function logIn() {
        const { challengeToken, publicKey } = (await hive.call(sessions.startPasskeyLogin)).body
        const used = (await ask('get', publicKey)) as contract.UsedPasskey
        return hive.call(sessions.logInWithPasskey, { body: { challengeToken, credential: used } })
      }
      for (let i = 0; i < 2; i++) assert.equal((await logIn()).body.user.id, ada.userId)
      await hive.ctx.db.kysely.deleteFrom('factors').execute()
      assert.equal((await logIn()).problem.code, 'invalid_passkey')
    })
  },
  { only: 'sqlite' },
)

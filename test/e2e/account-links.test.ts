import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { type SmtpServer, startSmtpServer } from '../../server/platform/mail/test-smtp-server.ts'
import { parseMail } from '../harness/mails.ts'
import { type Installation, install, setUp } from './installation.ts'

const browser = '/usr/bin/chromium'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
const skip = !isRequired && !existsSync(browser) && 'chromium is not installed'
const quiet = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const newPassword = 'another battery, another staple'
const screenshots = process.env.HIVESYNC_TEST_SCREENSHOTS

/** A server that mails by SMTP, what it has mailed, and a browser that complains of nothing but refusals. */
async function openScene(env: Record<string, string> = {}) {
  await using cleanup = new AsyncDisposableStack()
  const smtp = await startSmtpServer()
  cleanup.defer(() => smtp.close())
  const hive = cleanup.use(
    await install({
      HIVESYNC_EMBEDDED_WORKER: '0',
      HIVESYNC_REGISTRATION: 'open',
      HIVESYNC_SMTP_URL: `smtp://127.0.0.1:${smtp.port}`,
      HIVESYNC_MAIL_FROM: 'HiveSync <hive@example.net>',
      ...env,
    }),
  )
  // The sandbox of Chromium itself refuses to run as root.
  const args = [...quiet, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])]
  const chrome: Browser = await chromium.launch({ executablePath: browser, args })
  cleanup.defer(() => chrome.close())
  const page = await chrome.newPage()
  const faults: string[] = []
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  page.on('pageerror', (error) => faults.push(error.message))
  const opened = cleanup.move()
  return { smtp, hive, page, faults, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** The link of the mail that was sent for this, once it was; the server does not know the port it was given. */
async function linkIn(
  { smtp, hive }: { smtp: SmtpServer; hive: Installation },
  kind: string,
  fragment: string,
): Promise<string> {
  await hive.line((line) => line.includes('"mail_sent"') && line.includes(`"${kind}"`))
  const link = new RegExp(`^http://\\S+(/account#${fragment}=\\S+)$`, 'm')
  const found = smtp.received.map(({ source }) => link.exec(parseMail(source).text)?.[1]).findLast(Boolean)
  assert.ok(found, `no mail with a link to ${fragment}`)
  return `${hive.url}${found}`
}

async function post(hive: Installation, path: string, body: object, token?: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  return fetch(`${hive.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
}

async function shoot(page: Page, name: string): Promise<void> {
  if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` })
}

test('a forgotten password is set anew with the link of a real mail, in a real browser, once', { skip }, async () => {
  await using scene = await openScene()
  const { hive, page, faults } = scene
  await setUp(hive)
  assert.equal((await post(hive, '/api/v1/auth/password/forgot', { login: 'queen@example.net' })).status, 202)
  const link = await linkIn(scene, 'password_reset', 'reset')

  // As scanners of mail do it.
  for (const method of ['GET', 'GET', 'GET', 'HEAD']) await fetch(link, { method })
  await page.goto(link)
  assert.equal(page.url(), `${hive.url}/account`)
  assert.equal(await page.evaluate('history.length > 0 && location.hash'), '')
  const field = page.getByLabel('New password')
  assert.equal(await field.getAttribute('type'), 'password')
  await field.fill('too short')
  await page.getByLabel('Show the password').check()
  assert.equal(await field.getAttribute('type'), 'text')
  await page.getByRole('button').click()
  await page.getByRole('alert').filter({ hasText: 'The password must have at least 15 characters.' }).waitFor()
  await shoot(page, 'reset-refused')
  await field.fill(newPassword)
  await page.getByLabel('Show the password').uncheck()
  await shoot(page, 'reset')
  await page.getByRole('button').click()
  await page.getByRole('heading', { name: 'The password is set' }).waitFor()
  await shoot(page, 'reset-done')
  assert.ok(!(await page.content()).includes(newPassword))

  const login = await post(hive, '/api/v1/auth/login', { login: 'queen', password: newPassword })
  assert.equal(login.status, 200)
  await page.goto('about:blank')
  await page.goto(link)
  await page.getByLabel('New password').fill(newPassword)
  await page.getByRole('button').click()
  await page.getByRole('alert').filter({ hasText: 'was used before' }).waitFor()
  await shoot(page, 'used')
  await page.goto('about:blank')
  await page.goto(`${hive.url}/account`)
  await page.getByText('This link is not whole').waitFor()
  await shoot(page, 'nothing')
  // The refused password and the used link: 400 and 401.
  assert.deepEqual(
    faults.filter((text) => !/status of (400|401)/.test(text)),
    [],
  )
})

test('an account is made, and its address changed, with the links of real mails in a real browser', {
  skip,
}, async () => {
  await using scene = await openScene({ HIVESYNC_EMAIL_VERIFICATION: 'required' })
  const { hive, page, faults } = scene
  await setUp(hive)
  const account = { email: 'ada@example.net', username: 'ada', password: newPassword }
  assert.equal((await post(hive, '/api/v1/auth/register', account)).status, 202)
  await page.goto(await linkIn(scene, 'registration', 'register'))
  await shoot(page, 'register')
  await page.getByRole('button', { name: 'Create the account' }).click()
  await page.getByRole('heading', { name: 'The account is there' }).waitFor()
  await shoot(page, 'register-done')
  const login = await post(hive, '/api/v1/auth/login', { login: 'ada', password: newPassword })
  const { accessToken } = (await login.json()) as { accessToken: string }
  assert.equal((await post(hive, '/api/v1/auth/email', { email: 'x@example.net' }, accessToken)).status, 403)

  for (const [kind, name] of [
    ['verify', 'Confirm the address'],
    ['email', 'Change the address'],
  ] as const) {
    await page.goto('about:blank')
    await page.goto(`${hive.url}/account#${kind}=${'x'.repeat(40)}`)
    await page.getByRole('button', { name }).click()
    await page.getByRole('alert').filter({ hasText: 'used before' }).waitFor()
    await shoot(page, kind)
  }
  assert.deepEqual(
    faults.filter((text) => !/status of (401|403)/.test(text)),
    [],
  )
})

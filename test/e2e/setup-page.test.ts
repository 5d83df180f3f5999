import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { chromium } from 'playwright-core'
import { install } from './installation.ts'

const browser = '/usr/bin/chromium'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
const quiet = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

test('the setup link makes the first admin once, and its token stays out of the address bar', {
  skip: !isRequired && !existsSync(browser) && 'chromium is not installed',
}, async () => {
  await using hive = await install({ HIVESYNC_EMBEDDED_WORKER: '0' })
  const link = (await hive.line((line) => line.includes('/setup#'))).trim()
  // The sandbox of Chromium itself refuses to run as root.
  await using cleanup = new AsyncDisposableStack()
  const chrome = await chromium.launch({
    executablePath: browser,
    args: [...quiet, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
  })
  cleanup.defer(() => chrome.close())
  const page = await chrome.newPage()
  const faults: string[] = []
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  page.on('pageerror', (error) => faults.push(error.message))

  await page.goto(link)
  assert.equal(page.url(), `${hive.url}/setup`)
  await page.getByLabel('Email address').fill('queen@example.net')
  await page.getByLabel('User name').fill('queen')
  await page.getByLabel('Password').fill('too short')
  await page.getByRole('button').click()
  await page.getByRole('alert').filter({ hasText: 'password' }).waitFor()
  if (process.env.HIVESYNC_TEST_SCREENSHOTS)
    await page.screenshot({ path: `${process.env.HIVESYNC_TEST_SCREENSHOTS}/refused.png` })

  await page.getByLabel('Password').fill('nine amber drones hum at noon')
  await page.getByRole('button').click()
  await page.getByText('is the admin of this server').waitFor()
  if (process.env.HIVESYNC_TEST_SCREENSHOTS)
    await page.screenshot({ path: `${process.env.HIVESYNC_TEST_SCREENSHOTS}/done.png` })

  assert.equal((await page.goto(`${hive.url}/setup`))?.status(), 404)
  // The refused password is the only complaint a browser may have had: a 400, and the page that is gone.
  assert.deepEqual(
    faults.filter((text) => !/status of (400|404)/.test(text)),
    [],
  )
})

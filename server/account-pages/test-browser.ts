// A server on a loopback port, and a real browser with a passkey device of its own in front of it.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { type BrowserContext, type CDPSession, chromium, type Page } from 'playwright-core'
import { type Hive, password } from '../../test/harness/hive.ts'
import type { Config } from '../platform/config.ts'

const browser = '/usr/bin/chromium'
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
export const skip = !isRequired && !existsSync(browser) && 'chromium is not installed'
const screenshots = process.env.HIVESYNC_TEST_SCREENSHOTS
const quiet = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface Scene extends AsyncDisposable {
  readonly hive: Hive
  /** As the browser names it: `http://localhost:…`. */
  readonly url: string
  readonly page: Page
  readonly context: BrowserContext
  /** Signs in on the screen that asks for it. */
  enter(login: string): Promise<void>
  /** Presses the button and waits for the screen with this heading. */
  press(button: string, heading: string): Promise<void>
  /** In light, in dark and as narrow as a small phone, where screenshots are wanted. */
  shoot(name: string): Promise<void>
  /** Fails the test when the browser complained of anything but refusals with these statuses, or when a token is still somewhere. */
  requireClean(statuses: readonly number[]): Promise<void>
}

/** `open` is given the configuration of a server that is reached at a loopback port. */
export async function openScene(open: (config: Partial<Config>) => Promise<Hive>): Promise<Scene> {
  const cleanup = new AsyncDisposableStack()
  const port = await freePort()
  const hive = cleanup.use(await open({ publicUrl: `http://127.0.0.1:${port}` }))
  await hive.app.listen({ host: '127.0.0.1', port })
  // The sandbox of Chromium itself refuses to run as root.
  const args = [...quiet, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])]
  const chrome = await chromium.launch({ executablePath: browser, args })
  cleanup.defer(() => chrome.close())
  const context = await chrome.newContext({ viewport: { width: 900, height: 900 } })
  const page = await context.newPage()
  const cdp = await context.newCDPSession(page)
  await addPasskeyDevice(cdp)
  const faults: string[] = []
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  page.on('pageerror', (error) => faults.push(error.message))
  const url = `http://localhost:${port}`

  return {
    hive,
    url,
    page,
    context,
    async enter(login) {
      await page.getByLabel('User name or email address').fill(login)
      await page.getByLabel('Password', { exact: true }).fill(password)
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    },
    async press(button, heading) {
      await page.getByRole('button', { name: button, exact: true }).click()
      await page.getByRole('heading', { name: heading }).waitFor()
    },
    async shoot(name) {
      if (screenshots === undefined) return
      await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true })
      await page.emulateMedia({ colorScheme: 'dark' })
      await page.setViewportSize({ width: 360, height: 740 })
      const isWider = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
      assert.equal(isWider, false, `${name} is wider than 360 px`)
      await page.screenshot({ path: `${screenshots}/${name}-small.png`, fullPage: true })
      await page.emulateMedia({ colorScheme: 'light' })
      await page.setViewportSize({ width: 900, height: 900 })
    },
    async requireClean(statuses) {
      const refusals = new RegExp(`status of (${statuses.join('|')})`)
      assert.deepEqual(
        faults.filter((text) => !refusals.test(text)),
        [],
      )
      await requireNothingKept(page, cdp)
    },
    [Symbol.asyncDispose]: () => cleanup.disposeAsync(),
  }
}

/** Nothing that opens anything is in storage, in cookies, in the address or in the history of the tab. */
async function requireNothingKept(page: Page, cdp: CDPSession): Promise<void> {
  const kept = await page.evaluate('({ local: Object.keys(localStorage), session: Object.keys(sessionStorage) })')
  assert.deepEqual(kept, { local: ['hivesync.device'], session: [] })
  assert.deepEqual(await page.context().cookies(page.url()), [])
  const { entries } = await cdp.send('Page.getNavigationHistory')
  for (const { url } of entries)
    assert.match(url, /^about:blank$|^http:\/\/[^/]+\/account\/[a-z]+$|^http:\/\/[^/]+\/auth/, url)
}

async function addPasskeyDevice(cdp: CDPSession): Promise<void> {
  await cdp.send('WebAuthn.enable')
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
}

/** The server must know its address before it listens. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

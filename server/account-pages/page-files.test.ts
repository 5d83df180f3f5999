import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { accountScripts } from '@hivesync/contracts/account-pages.ts'
import { describeHive } from '../../test/harness/hive.ts'

const pages = ['/account/device', '/account/external', '/account/invitation', '/account/passkeys']
const files: (readonly [url: string, type: string])[] = [
  ...pages.map((url) => [url, 'text/html'] as const),
  ...accountScripts.map((name) => [`/account/scripts/${name}`, 'text/javascript'] as const),
]

test('every file of the pages is served, and no other is', () => {
  const there = readdirSync(join(import.meta.dirname, 'pages')).filter((name) => name.endsWith('.js'))
  assert.deepEqual(there.sort(), [...accountScripts].sort())
})

describeHive('the files of the account pages', (open) => {
  test('may load their own files and talk to this server, and nothing else; nothing is inline or stored', async () => {
    await using hive = await open()
    for (const [url, type] of files) {
      const { headers, statusCode, body } = await hive.inject({ method: 'GET', url })
      assert.equal(statusCode, 200, url)
      assert.equal(headers['content-type'], `${type}; charset=utf-8`)
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.match(
        String(headers['content-security-policy']),
        /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
      )
      // Nothing that turns text into markup or code: what the server says is text wherever it is shown.
      assert.doesNotMatch(
        body,
        /<script>|<style|style=| on[a-z]+=|https?:\/\/|innerHTML|outerHTML|insertAdjacent|eval\(|document\.write/,
      )
    }
  })

  test('passwords are hidden while typed, may be pasted, and are filled in by password managers', async () => {
    await using hive = await open()
    const { body } = await hive.inject({ method: 'GET', url: '/account/passkeys' })
    const fields = [...body.matchAll(/<input ([^>]*name="password"[^>]*)>/g)].map(([, field = '']) => field)
    assert.equal(fields.length, 2)
    for (const field of fields) {
      assert.match(field, /type="password" autocomplete="(?:current|new)-password"/)
      assert.doesNotMatch(field, /onpaste|readonly|maxlength|pattern/)
    }
    for (const name of accountScripts)
      assert.doesNotMatch((await hive.inject({ method: 'GET', url: `/account/scripts/${name}` })).body, /'paste'/)
  })

  test('the page for the provider takes whatever stands in the query and answers none of it', async () => {
    await using hive = await open()
    const plain = (await hive.inject({ method: 'GET', url: '/account/external' })).body
    for (const query of [
      'code=canary&state=s&iss=x',
      'error=canary',
      'session_state=canary&a[b]=1',
      'code=canary&code=2',
    ]) {
      const { statusCode, body } = await hive.inject({ method: 'GET', url: `/account/external?${query}` })
      assert.equal(statusCode, 200, query)
      assert.equal(body, plain)
    }
    assert.ok(!hive.logged.join('').includes('canary'))
  })

  test('no other file of the server can be had by the name of a script', async () => {
    await using hive = await open()
    for (const name of ['page.html', '..%2froutes.ts', '%2e%2e', 'start.js%00', 'START.JS', ''])
      assert.ok((await hive.inject({ method: 'GET', url: `/account/scripts/${name}` })).statusCode >= 400, name)
  })
})

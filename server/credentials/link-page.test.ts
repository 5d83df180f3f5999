import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as credentials from '@hivesync/contracts/credentials.ts'
import { describeHive } from '../../test/harness/hive.ts'
import { linkTo, otherPassword } from './test-links.ts'

describeHive('the page behind the links', (open) => {
  test('is opened, prefetched and scanned without using the link up', async () => {
    await using hive = await open()
    await hive.person('ada')
    await hive.call(credentials.requestPasswordReset, { body: { login: 'ada' } })
    const token = await linkTo(hive, 'ada@example.net', 'reset')
    // A scanner may also send what a browser keeps to itself.
    for (const url of ['/account', `/account?reset=${token}`, `/account#reset=${token}`])
      await hive.inject({ method: 'GET', url })
    assert.equal((await hive.inject({ method: 'GET', url: '/account' })).statusCode, 200)
    await hive.inject({ method: 'HEAD', url: '/account' })
    for (const path of ['/api/v1/auth/password/reset', '/api/v1/auth/email/verify', '/api/v1/auth/email/confirm'])
      assert.equal((await hive.inject({ method: 'GET', url: `${path}?token=${token}` })).statusCode, 405)
    const body = { token, newPassword: otherPassword }
    assert.equal((await hive.call(credentials.resetPassword, { body })).status, 204)
    assert.ok(!hive.logged.join('').includes(token))
  })

  test('may load its own files and talk to this server, and is stored nowhere', async () => {
    await using hive = await open()
    for (const [url, type] of [
      ['/account', 'text/html'],
      ['/account/account.js', 'text/javascript'],
      ['/account/account.css', 'text/css'],
    ] as const) {
      const { headers, statusCode, body } = await hive.inject({ method: 'GET', url })
      assert.equal(statusCode, 200)
      assert.equal(headers['content-type'], `${type}; charset=utf-8`)
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.match(
        String(headers['content-security-policy']),
        /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
      )
      assert.doesNotMatch(body, /<script>|<style|style=| on[a-z]+=|https?:\/\//)
    }
  })

  test('hides what is typed, and lets a password manager fill it in', async () => {
    await using hive = await open()
    const { body } = await hive.inject({ method: 'GET', url: '/account' })
    const fields = [...body.matchAll(/<input ([^>]*[pP]assword"[^>]*)>/g)].map(([, field = '']) => field)
    const [toShow, toType] = [true, false].map((is) => fields.filter((field) => field.includes('checkbox') === is))
    assert.deepEqual([toType?.length, toShow?.length], [1, 1])
    for (const field of toType ?? []) {
      assert.match(field, /type="password" autocomplete="new-password"/)
      assert.doesNotMatch(field, /onpaste|readonly|maxlength|pattern/)
    }
    assert.doesNotMatch(body, /hint=|security question/i)
  })
})

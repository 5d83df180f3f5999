// What holds of every operation whatever it does: headers, strict bodies, and silence about what it was given.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import { conforms } from '@hivesync/contracts/schema.ts'
import { Problem } from '@hivesync/contracts/values.ts'
import fc from 'fast-check'
import { describeHive, type Hive, type Person } from '../harness/hive.ts'
import { mutatedBodies, sampleOf } from './sample.ts'
import { enrolSender, type SendSigned } from './signed.ts'

const all = [...operations.values()]
const withBody = all.flatMap((operation) =>
  operation.body === undefined ? [] : [{ operation, schema: operation.body }],
)
const id = '01890000-0000-7000-8000-000000000000'

function targetOf({ path }: Endpoint, value = id): string {
  return path.replace(/:(\w+)/g, (_, name: string) =>
    encodeURIComponent(name === 'token' && value === id ? '1' : value),
  )
}

type Injected = Awaited<ReturnType<Hive['inject']>>

/** Requirement M5, on every reply whatever its status. */
function requireHeaders({ headers, statusCode, body }: Injected, cacheSeconds?: number): void {
  const policy = String(headers['content-security-policy'])
  assert.match(policy, /default-src 'none'/)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.match(policy, /base-uri 'none'/)
  assert.doesNotMatch(policy, /unsafe-/)
  assert.equal(headers['x-content-type-options'], 'nosniff')
  assert.equal(headers['x-frame-options'], 'DENY')
  assert.equal(headers['referrer-policy'], 'no-referrer')
  assert.equal(headers['cross-origin-opener-policy'], 'same-origin')
  assert.equal(headers['cross-origin-resource-policy'], 'same-origin')
  const mayBeKept = cacheSeconds !== undefined && statusCode < 300
  assert.equal(headers['cache-control'], mayBeKept ? `public, max-age=${cacheSeconds}` : 'no-store')
  assert.match(String(headers['strict-transport-security']), /max-age=\d{8,}; includeSubDomains/)
  assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/)
  for (const name of ['server', 'x-powered-by', 'access-control-allow-origin', 'set-cookie'])
    assert.ok(!(name in headers), name)
  if (statusCode < 400) return
  assert.equal(headers['content-type'], 'application/problem+json')
  if (body !== '') assert.ok(conforms(Problem, JSON.parse(body)), body)
}

test('only what is public may be kept by anybody: key sets and the catalog of events', () => {
  const kept = all.filter(({ cacheSeconds }) => cacheSeconds !== undefined)
  assert.deepEqual(
    kept.map(({ name, access }) => [name, access]),
    [
      ['getKeySet', 'public'],
      ['getWebhookKeys', 'public'],
      ['listWebhookEvents', 'public'],
    ],
  )
})

describeHive('every operation', (open) => {
  let hive: Hive
  let admin: Person
  let sendSigned: SendSigned

  before(async () => {
    hive = await open({ config: { publicUrl: 'https://hive.test' } })
    admin = await hive.admin()
    sendSigned = await enrolSender(hive)
  })

  describe('carries the security headers', () => {
    for (const operation of all) {
      test(operation.name, async () => {
        const url = targetOf(operation)
        // A person of this test alone: some of the operations end the session.
        const authorization = `Bearer ${(await hive.person(`user-of-${operation.name}`)).token}`
        const json = { 'content-type': 'application/json' }
        const payload = operation.body === undefined ? {} : { payload: JSON.stringify(sampleOf(operation.body)) }
        const { method } = operation
        const check = (reply: Injected) => requireHeaders(reply, operation.cacheSeconds)
        check(await hive.inject({ method, url }))
        check(await hive.inject({ method, url, headers: { authorization: 'Bearer no' } }))
        check(await hive.inject({ method, url, ...payload, headers: { ...json, authorization } }))
        check(await hive.inject({ method, url: `${url}?nope=1`, headers: { authorization } }))
        check(await hive.inject({ method, url, payload: '{', headers: { ...json, authorization } }))
        check(await hive.inject({ method: 'OPTIONS', url, headers: { origin: 'https://evil.test' } }))
        check(await hive.inject({ method: 'HEAD', url }))
      })
    }
  })

  /** Sends a body with the credentials that the operation asks for. */
  async function send(operation: Endpoint, payload: string): Promise<{ status: number; text: string }> {
    const { method, access } = operation
    const url = targetOf(operation)
    const headers = {
      'content-type': 'application/json',
      ...(access !== 'public' && { authorization: `Bearer ${admin.token}` }),
    }
    const reply =
      access === 'worker'
        ? await sendSigned(method, url, payload)
        : await hive.inject({ method, url, payload, headers })
    return { status: reply.statusCode, text: reply.body }
  }

  describe('takes exactly the bodies of its contract', () => {
    for (const { operation, schema } of withBody) {
      test(operation.name, async () => {
        const sample = sampleOf(schema)
        await fc.assert(
          fc.asyncProperty(mutatedBodies(sample), async (body) => {
            const { status, text } = await send(operation, JSON.stringify(body))
            assert.ok(status < 500, `${JSON.stringify(body)} → ${status} ${text}`)
            if (!conforms(schema, body)) assert.equal(status, 400, `${JSON.stringify(body)} → ${status}`)
          }),
          { numRuns: 60 },
        )
      })

      test(`${operation.name}, no key twice and none unknown`, async () => {
        const text = JSON.stringify(sampleOf(schema))
        const { status } = await send(operation, `[${text},${text}]`)
        assert.equal(status, 400)
        if (!text.startsWith('{')) return
        const [key = 'a'] = Object.keys(JSON.parse(text))
        const separator = text === '{}' ? '' : ','
        for (const extra of ['"isAdmin":true', '"role":"admin"', '"__proto__":{}', '"constructor":{}'])
          assert.equal((await send(operation, text.replace('{', `{${extra}${separator}`))).status, 400, extra)
        assert.equal((await send(operation, `{"${key}":1,${text.slice(1)}`.replace(',}', '}'))).status, 400)
      })
    }
  })

  test('is asked for nothing it does not know in the address', async () => {
    for (const operation of all.filter(({ access }) => access !== 'worker')) {
      const { method } = operation
      const headers = { authorization: `Bearer ${admin.token}` }
      const ask = async (url: string) => (await hive.inject({ method, url, headers })).statusCode
      // The external provider may send the browser back with whatever it likes.
      if (operation.name !== 'getExternalPage')
        assert.equal(await ask(`${targetOf(operation)}?nope=1`), 400, operation.name)
      for (const value of ['1', 'null', '../x', id.toUpperCase().replace('0', 'G'), '\0', '%'])
        if (operation.params !== undefined)
          assert.equal(await ask(targetOf(operation, value)), 400, `${operation.name} ${value}`)
      for (const name of Object.keys(operation.query?.properties ?? {}))
        for (const value of ['', '\0', '\ud800', 'x'.repeat(5000), '-1', '1e9', "' or 1=1"]) {
          const status = await ask(`${targetOf(operation)}?${name}=${encodeURIComponent(value.toWellFormed())}`)
          assert.ok(status < 500, `${operation.name} ${name}=${value} → ${status}`)
        }
    }
  })
})

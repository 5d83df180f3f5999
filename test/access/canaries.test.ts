// Secrets planted in every place a request has: none may come up in the log or in the audit (requirement K3).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import fc from 'fast-check'
import { describeHive, password } from '../harness/hive.ts'
import { mutatedBodies, sampleOf } from './sample.ts'

const all = [...operations.values()]
const places = [
  'authorization',
  'cookie',
  'x-api-key',
  'user-agent',
  'referer',
  'idempotency-key',
  'x-request-id',
  'signature',
  'step-up',
]

/** Puts the canary into every text of a body. */
function planted(body: unknown, canary: string): unknown {
  return JSON.parse(JSON.stringify(body ?? { a: 'b' }), (_, value) =>
    typeof value === 'string' ? `${canary}${value}` : value,
  )
}

function targetOf({ path }: Endpoint, value: string): string {
  return path.replace(/:(\w+)/g, () => encodeURIComponent(value))
}

describeHive('what a request carries', (open) => {
  test('is in no log line and no audit event, whichever operation it was sent to', async () => {
    await using hive = await open()
    const { token } = await hive.person('ada')
    const canary = fc.stringMatching(/^[a-z]{20}[ '"\\%\n][a-z]{4}$/)
    await fc.assert(
      fc.asyncProperty(canary, fc.constantFrom(...all), fc.boolean(), async (secret, operation, isProven) => {
        const body = operation.body === undefined ? undefined : sampleOf(operation.body)
        const [mutated] = fc.sample(mutatedBodies(body ?? null), 1)
        const headers = Object.fromEntries(places.map((name) => [name, `Bearer ${encodeURIComponent(secret)}`]))
        for (const payload of [planted(body, secret), planted(mutated, secret)]) {
          await hive.inject({
            method: operation.method,
            url: `${targetOf(operation, secret)}?q=${encodeURIComponent(secret)}&${encodeURIComponent(secret)}=1`,
            payload: JSON.stringify(payload),
            headers: {
              ...headers,
              'content-type': 'application/json',
              ...(isProven && { authorization: `Bearer ${token}` }),
            },
          })
        }
        const kept =
          hive.logged.join('') +
          JSON.stringify(await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute())
        assert.ok(
          !kept.includes(secret.slice(0, 20)),
          `${operation.name}: ${kept.slice(kept.indexOf(secret.slice(0, 20)) - 200)}`,
        )
        hive.logged.length = 0
      }),
      { numRuns: 150 },
    )
  })

  test('neither passwords nor tokens nor email addresses of a whole day’s work are kept in clear', async () => {
    await using hive = await open()
    const people = [await hive.admin(), await hive.person('ada'), await hive.person('eve')]
    await hive.call(sessions.logIn, { body: { login: 'ada', password: 'wrong-hunter2-password' } })
    await hive.call(sessions.logIn, { body: { login: 'nobody-hunter2@example.net', password } })
    const worker = await hive.worker()
    await worker.claim()
    for (const { token } of people) await hive.call(sessions.logOut, { token })
    const audit = await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()
    assert.ok(audit.length > 0 && hive.logged.length > 0)
    const kept = hive.logged.join('') + JSON.stringify(audit)
    for (const { token, refreshToken } of people) {
      for (const secret of [token, token.split('.')[2], refreshToken, refreshToken.slice(-20)])
        assert.ok(secret && !kept.includes(secret))
    }
    assert.doesNotMatch(kept, /hunter2|nine amber|example\.net|"ip":"\d+\.\d+\.\d+\.\d+"/)
  })
})

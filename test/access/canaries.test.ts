// Secrets planted in every place a request has: none may come up in the log or in the audit (requirement K3).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import fc from 'fast-check'
import { keepFaults, listFaults, watchFaults } from '../../server/faults/faults.ts'
import { createMetricsPage } from '../../server/operations/operations.ts'
import { consumeOutbox } from '../../server/outbox/outbox.ts'
import { createMemoryWindows } from '../../server/platform/limits/memory-windows.ts'
import { describeHive, password } from '../harness/hive.ts'
import { complete, log, take } from '../harness/jobs.ts'
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

  test('is in no metric, fault or mail either, nor is what a job was given and printed', async () => {
    await using hive = await open()
    const secret = 'canarythatnobodymaysee'
    const ctx = { ...hive.ctx, log: watchFaults(hive.ctx.log) }
    const person = await hive.person('ada')
    for (const operation of all) {
      const headers = Object.fromEntries([...places, 'traceparent', 'origin'].map((name) => [name, `Bearer ${secret}`]))
      const body = operation.body === undefined ? undefined : sampleOf(operation.body)
      for (const authorization of [`Bearer ${secret}`, `Bearer ${person.token}`])
        await hive.inject({
          method: operation.method,
          url: `${targetOf(operation, secret)}?${secret}=${secret}`,
          payload: JSON.stringify(planted(body, secret)),
          headers: { ...headers, 'content-type': 'application/json', authorization },
        })
    }
    const { token } = await hive.logInAgain('ada')
    const projectId = await hive.project({ ...person, token }, 'comb')
    const worker = await hive.worker()
    const input = { command: ['sh', '-c', secret], env: { HONEY: secret }, secrets: { KEY: secret } }
    const body = { kind: 'compute' as const, input }
    assert.equal((await hive.call(jobs.submitJob, { token, params: { projectId }, body })).status, 201)
    const claim = await take(worker)
    await log(worker, claim, [{ seq: 0, stream: 'stdout', at: hive.clock.now(), text: secret }])
    const error = { code: 'command_failed', message: secret }
    await complete(worker, claim, { outcome: 'failed', error, result: { printed: secret } })
    ctx.log.error({ event: 'planted' }, new Error(`https://ada:${secret}@forge.example.net/comb.git`))
    await keepFaults(ctx)
    await consumeOutbox(ctx, [])
    const kept = {
      logged: hive.logged.join(''),
      audited: JSON.stringify(await ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()),
      metrics: await createMetricsPage(ctx, createMemoryWindows(hive.clock.now)).text(),
      faults: JSON.stringify(await listFaults(ctx)),
      mails: JSON.stringify(await hive.mails()),
    }
    assert.match(kept.metrics, /^hivesync_requests_total\{operation="submitJob",method="POST",status="2xx"\} 1$/m)
    for (const [place, text] of Object.entries(kept)) {
      const at = text.indexOf(secret)
      assert.ok(at < 0, `${place}: ${text.slice(Math.max(0, at - 200), at + 50)}`)
    }
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

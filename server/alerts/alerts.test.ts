import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/oversight.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { submitted } from '../../test/harness/jobs.ts'
import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import { pruneAlerts, watchConditions } from './alerts.ts'
import type { Condition, Finding } from './conditions.ts'

const minuteMs = 60_000

describeHive('an alert', (open) => {
  const listed = async (hive: Hive, state?: 'open' | 'all') => {
    const { token } = await hive.admin()
    return (await hive.call(contract.listAlerts, { token, query: state === undefined ? {} : { state } })).body.items
  }
  function switchable(kind = 'test') {
    const findings: Finding[] = []
    const condition: Condition = { kind, find: async () => [...findings] }
    return {
      condition,
      findings,
      raise: (subject = '') => findings.push({ subject, severity: 'warning', detail: `${kind} ${subject}` }),
    }
  }
  const alertMails = async (hive: Hive) =>
    (await hive.mails()).filter(({ text }) => text.includes('hivesync admin alerts'))

  test('is raised once while it holds, mailed once to every admin, and over when it has not been seen for five minutes', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    await hive.person('ada')
    const { condition, findings, raise } = switchable()
    const look = () => watchConditions(hive.ctx, [condition])
    await look()
    assert.deepEqual(await listed(hive), [])
    raise()
    for (let i = 0; i < 5; i++) {
      await look()
      hive.clock.advance(30_000)
    }
    const [alert, ...more] = await listed(hive, 'open')
    assert.equal(more.length, 0)
    assert.deepEqual([alert?.kind, alert?.severity, alert?.detail, alert?.endedAt], ['test', 'warning', 'test ', null])
    const told = hive.ctx.db.kysely
      .selectFrom('outbox')
      .select(['teamId', 'payload'])
      .where('topic', '=', 'alert.raised')
    const payload = { alertId: alert?.id, kind: 'test', subject: '', severity: 'warning' }
    assert.deepEqual(await told.execute(), [{ teamId: admin.teamId, payload: JSON.stringify(payload) }])
    assert.deepEqual(
      (await alertMails(hive)).map(({ to }) => to),
      [`${admin.username}@example.net`],
    )

    findings.length = 0
    await look()
    hive.clock.advance(4 * minuteMs)
    await look()
    assert.equal((await listed(hive, 'open')).length, 1)
    hive.clock.advance(minuteMs)
    await look()
    assert.deepEqual(await listed(hive, 'open'), [])
    assert.notEqual((await listed(hive, 'all'))[0]?.endedAt, null)
    // What comes again is a new one.
    raise()
    await look()
    assert.equal((await listed(hive)).length, 2)
    assert.equal((await alertMails(hive)).length, 2)
  })

  test('is one for each subject, and one mail tells of all that began together', async () => {
    await using hive = await open()
    await hive.admin()
    const { condition, raise } = switchable()
    for (const subject of ['a', 'b', 'c']) raise(subject)
    await Promise.all([1, 2, 3].map(() => watchConditions(hive.ctx, [condition])))
    assert.deepEqual((await listed(hive)).map(({ subject }) => subject).sort(), ['a', 'b', 'c'])
    const mails = await alertMails(hive)
    assert.equal(mails.length, 1)
    for (const subject of ['test a', 'test b', 'test c']) assert.match(mails[0]?.text ?? '', new RegExp(subject))
  })

  test('whose condition cannot be looked at stays as it is, and the others are looked at', async () => {
    await using hive = await open()
    const [steady, other] = [switchable('steady'), switchable('other')]
    steady.raise()
    await watchConditions(hive.ctx, [steady.condition])
    hive.clock.advance(10 * minuteMs)
    other.raise()
    const broken: Condition = { kind: 'steady', find: () => Promise.reject(new Error('no answer')) }
    await assert.rejects(watchConditions(hive.ctx, [broken, other.condition]), AggregateError)
    assert.deepEqual((await listed(hive, 'open')).map(({ kind }) => kind).sort(), ['other', 'steady'])
  })

  test('is acknowledged by an admin, who is remembered; said again it stays the first one’s', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    const ada = await hive.person('ada')
    const { condition, raise } = switchable()
    raise()
    await watchConditions(hive.ctx, [condition])
    const [alert] = await listed(hive)
    const params = { alertId: alert?.id ?? '' }
    assert.equal((await hive.call(contract.acknowledgeAlert, { token: ada.token, params })).status, 403)
    const acknowledged = (await hive.call(contract.acknowledgeAlert, { token: admin.token, params })).body
    assert.equal(acknowledged.acknowledgedBy, admin.userId)
    hive.clock.advance(minuteMs)
    const again = (await hive.call(contract.acknowledgeAlert, { token: admin.token, params })).body
    assert.deepEqual(again, acknowledged)
    const nowhere = { alertId: '01890000-0000-7000-8000-000000000000' }
    assert.equal(
      (await hive.call(contract.acknowledgeAlert, { token: admin.token, params: nowhere })).problem.code,
      'alert_not_found',
    )
  })

  test('is raised by what the server sees: guessed passwords, a worker that fell silent, a full storage', async () => {
    await using hive = await open()
    await hive.admin()
    const ada = await hive.person('ada')
    await watchConditions(hive.ctx)
    assert.deepEqual(await listed(hive), [])
    // One real refusal, and as many like it as there are when somebody guesses from many places.
    await hive.call(sessions.logIn, { body: { login: 'nobody', password: 'wrong horse battery staple' } })
    const { action } = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('action')
      .where('outcome', '=', 'refused')
      .executeTakeFirstOrThrow()
    await hive.ctx.db.transaction(async (tx) => {
      for (let i = 0; i < 50; i++) await recordAudit(hive.ctx, tx, system, { action, outcome: 'refused' })
    })
    const worker = await hive.worker()
    await worker.claim()
    await hive.ctx.db.kysely.insertInto('teamStorage').values({ teamId: ada.teamId, bytes: 950_000_000 }).execute()
    await watchConditions(hive.ctx)
    assert.deepEqual((await listed(hive)).map(({ kind }) => kind).sort(), ['logins_refused', 'storage_nearly_full'])
    hive.clock.advance(6 * minuteMs)
    await watchConditions(hive.ctx)
    assert.ok((await listed(hive, 'open')).some(({ kind, subject }) => kind === 'worker_away' && subject === worker.id))
    await worker.claim()
    await watchConditions(hive.ctx)
    hive.clock.advance(5 * minuteMs)
    await worker.claim()
    await watchConditions(hive.ctx)
    assert.ok(!(await listed(hive, 'open')).some(({ kind }) => kind === 'worker_away'))
  })

  test('is not mailed to an admin who was shut out, and is kept for ninety days after its end', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    const out = await hive.person('out')
    const { kysely } = hive.ctx.db
    const shutOut = { adminSince: hive.clock.now(), deactivatedAt: hive.clock.now() }
    await kysely.updateTable('users').set(shutOut).where('id', '=', out.userId).execute()
    const { condition, findings, raise } = switchable()
    raise()
    await watchConditions(hive.ctx, [condition])
    assert.deepEqual(
      (await alertMails(hive)).map(({ to }) => to),
      [`${admin.username}@example.net`],
    )
    findings.length = 0
    hive.clock.advance(5 * minuteMs)
    await watchConditions(hive.ctx, [condition])
    const countAlerts = async () => (await kysely.selectFrom('alerts').select('id').execute()).length
    hive.clock.advance(90 * 24 * 60 * minuteMs)
    await pruneAlerts(hive.ctx)
    assert.equal(await countAlerts(), 1)
    hive.clock.advance(1)
    await pruneAlerts(hive.ctx)
    assert.equal(await countAlerts(), 0)
  })

  test('is not raised by a worker that comes and goes, nor by attempts of which half succeed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { kysely } = hive.ctx.db
    const worker = await hive.worker()
    await worker.claim()
    const { id: jobId } = await submitted(hive, ada, projectId)
    const attempt = (number: number, outcome: string) => ({
      ...{ jobId, workerId: worker.id, number, outcome },
      claimedAt: hive.clock.now(),
      endedAt: hive.clock.now(),
    })
    const attempts = Array.from({ length: 20 }, (_, i) => attempt(i + 1, i % 2 === 0 ? 'failed' : 'succeeded'))
    await kysely.insertInto('jobAttempts').values(attempts).execute()
    const kinds = async () => {
      await watchConditions(hive.ctx)
      const rows = await kysely.selectFrom('alerts').select('kind').where('endedAt', 'is', null).execute()
      return rows.map(({ kind }) => kind)
    }
    assert.deepEqual(await kinds(), [])
    await kysely.insertInto('jobAttempts').values(attempt(21, 'lost')).execute()
    assert.deepEqual(await kinds(), ['jobs_failing'])
    await kysely.updateTable('workers').set({ ephemeral: 1 }).execute()
    hive.clock.advance(6 * minuteMs)
    assert.ok(!(await kinds()).includes('worker_away'))
    await kysely.updateTable('workers').set({ ephemeral: 0 }).execute()
    assert.ok((await kinds()).includes('worker_away'))
  })

  test('is raised by a spike of faults or refusals, and not by the few of every day', async () => {
    await using hive = await open()
    const counts = { '2xx': 0, '4xx': 0, '5xx': 0 }
    const samples = () => Object.entries(counts).map(([status, value]) => ({ labels: { status }, value }))
    const metrics = {
      ...hive.ctx.metrics,
      families: () => [{ name: 'hivesync_requests_total', help: '', type: 'counter' as const, samples: samples() }],
    }
    const ctx = { ...hive.ctx, metrics }
    const kindsNow = async () => {
      await watchConditions(ctx)
      return (await listed(hive, 'open')).map(({ kind, subject }) => `${kind} ${subject}`).sort()
    }
    // What was before the first look says nothing of now.
    counts['5xx'] = 1000
    assert.deepEqual(await kindsNow(), [])
    counts['2xx'] += 1000
    counts['5xx'] += 19
    counts['4xx'] += 499
    assert.deepEqual(await kindsNow(), [])
    counts['2xx'] += 1000
    counts['5xx'] += 20
    assert.deepEqual(await kindsNow(), [])
    counts['5xx'] += 20
    assert.deepEqual(await kindsNow(), ['answers_failing 5xx'])
    counts['4xx'] += 500
    assert.deepEqual(await kindsNow(), ['answers_failing 4xx', 'answers_failing 5xx'])
  })
})

// Who does not know whether an account exists learns it from nothing here: not from a status, a body, a header, or the rows (and with them the work) of a request.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as credentials from '@hivesync/contracts/credentials.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import type { InjectOptions } from 'fastify'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'
import { gains, linksTo, seen } from './test-links.ts'

const post = (url: string, body: object, headers: Record<string, string> = {}): InjectOptions => ({
  method: 'POST',
  url,
  payload: JSON.stringify(body),
  headers: { 'content-type': 'application/json', ...headers },
})
const forgot = (login: string) => post('/api/v1/auth/password/forgot', { login })
const registration = (username: string, email = `${username}@example.net`) =>
  post('/api/v1/auth/register', { email, username, password })

/** What a request shows to whoever sends it, and what it leaves behind. */
async function traces(hive: Hive, request: InjectOptions) {
  let shown: unknown
  const rows = await gains(hive, async () => {
    shown = seen(await hive.inject(request))
  })
  return { shown, rows }
}

const proved = { config: { emailVerification: 'required' } } as const

describeHive('whether somebody has an account', (open) => {
  test('is not told by the reply to a forgotten password, nor by the rows it writes', async () => {
    await using hive = await open()
    const gone = await hive.person('gone')
    const change = { deactivatedAt: hive.clock.now() }
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', gone.userId).execute()
    await hive.person('ada')
    const known = await traces(hive, forgot('ada'))
    assert.deepEqual(known.rows, { ...known.rows, mail_queue: 1, one_time_tokens: 1, audit_events: 1 })
    for (const login of ['nobody', 'nobody@example.net', 'gone', "' or 1=1 --"])
      assert.deepEqual(await traces(hive, forgot(login)), known, login)
    assert.equal((await linksTo(hive, 'gone@example.net', 'reset')).length, 0)
    // By either name it is the same mailbox: only its counters are there already.
    const again = await traces(hive, forgot('ada@example.net'))
    assert.deepEqual(again, { shown: known.shown, rows: { ...known.rows, login_throttles: 0 } })
    assert.deepEqual(await traces(hive, forgot('nobody@example.net')), again)
  })

  test('is not told by being held back: the limit counts what is typed, known or not', async () => {
    await using hive = await open()
    await hive.person('ada')
    for (const login of ['ada', 'nobody']) for (let i = 0; i < 5; i++) await hive.inject(forgot(login))
    const [known, unknown] = [await traces(hive, forgot('ada')), await traces(hive, forgot('nobody'))]
    assert.deepEqual(known, unknown)
  })

  test('is not told by registering where addresses must be proved: 202 whoever has the names, and no account', async () => {
    await using hive = await open(proved)
    await hive.admin()
    const free = await traces(hive, registration('ada'))
    assert.deepEqual((free.shown as { status: number; body: string }).status, 202)
    assert.equal((free.shown as { body: string }).body, '')
    assert.equal(free.rows.users, 0)
    assert.deepEqual(await traces(hive, registration('bea', 'queen@example.net')), free)
    assert.deepEqual(await traces(hive, registration('queen', 'cleo@example.net')), free)
    assert.deepEqual(await traces(hive, registration('queen', 'Queen@Example.net')), {
      ...free,
      rows: { ...free.rows, login_throttles: 0 },
    })
  })

  test('is not told by logging in with what was just registered: neither name is occupied', async () => {
    await using hive = await open(proved)
    await hive.admin()
    await hive.inject(registration('ada', 'free@example.net'))
    await hive.inject(registration('bea', 'queen@example.net'))
    const logins = ['ada', 'bea', 'free@example.net', 'cleo'].map((login) =>
      hive.inject(post('/api/v1/auth/login', { login, password })),
    )
    const [first, ...rest] = (await Promise.all(logins)).map(seen)
    assert.equal(first?.status, 401)
    for (const other of rest) assert.deepEqual(other, first)
    const second = await traces(hive, registration('ada', 'another@example.net'))
    assert.deepEqual(second.rows.users, 0)
    assert.equal((await linksTo(hive, 'another@example.net', 'register')).length, 1)
  })

  test('is not told by a change of address: its owner gets a mail in place of the link', async () => {
    await using hive = await open()
    const [eve] = [await hive.person('eve'), await hive.person('ada')]
    const change = async (email: string) => {
      const body = { email }
      const headers = await hive.stepUp(eve, credentials.requestEmailChange, { body })
      return traces(hive, post('/api/v1/auth/email', body, { ...headers, authorization: `Bearer ${eve.token}` }))
    }
    const free = await change('new@example.net')
    // The first link of two dies with the second, so from the second on the sums are the same.
    const [taken, other] = [await change('ada@example.net'), await change('newer@example.net')]
    assert.deepEqual(taken.shown, free.shown)
    assert.deepEqual(taken.shown, other.shown)
    assert.deepEqual([taken.rows.mail_queue, taken.rows.audit_events], [other.rows.mail_queue, other.rows.audit_events])
    assert.equal((await linksTo(hive, 'ada@example.net', 'email')).length, 0)
    assert.match((await hive.mailTo('ada@example.net')).text, /which is yours already/)
  })

  test('is told to nobody who holds an invitation for another address', async () => {
    await using hive = await open({ config: { registration: 'invite' } })
    await hive.admin()
    const invitation = `hsi_${'x'.repeat(43)}`
    const [taken, free] = await Promise.all(
      ['queen@example.net', 'free@example.net'].map((email) =>
        hive.inject(post('/api/v1/auth/register', { email, username: 'ada', password, invitation })),
      ),
    )
    assert.ok(taken && free)
    assert.equal(seen(taken).status, 403)
    assert.deepEqual(seen(taken), seen(free))
  })

  test('a login that is refused says no more to whoever has the right password of a deactivated account', async () => {
    await using hive = await open()
    const gone = await hive.person('gone')
    const change = { deactivatedAt: hive.clock.now() }
    await hive.ctx.db.kysely.updateTable('users').set(change).where('id', '=', gone.userId).execute()
    const reply = await hive.call(sessions.logIn, { body: { login: 'gone', password } })
    assert.equal(reply.problem.code, 'invalid_credentials')
  })
})

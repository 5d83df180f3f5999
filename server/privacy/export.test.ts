import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import * as admin from '@hivesync/contracts/admin.ts'
import * as contract from '@hivesync/contracts/privacy.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { nobody } from '../platform/actor.ts'
import { exportMyData } from './export.ts'

describeHive('the export of personal data', (open) => {
  let hive: Hive
  let address = ''
  before(async () => {
    hive = await open()
    await hive.admin()
    address = await hive.app.listen({ host: '127.0.0.1', port: 0 })
  })
  after(() => hive[Symbol.asyncDispose]())

  async function exported(who: Person): Promise<Response> {
    const headers = await hive.stepUp(who, contract.exportMyData, {})
    return fetch(`${address}${contract.exportMyData.path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${who.token}`, ...headers },
    })
  }
  /** Many jobs with the largest inputs there are: more than any buffer on the way holds. */
  async function fill(who: Person, count: number): Promise<void> {
    const projectId = await hive.project(who)
    const now = hive.clock.now()
    const input = JSON.stringify({ command: ['true'], text: 'x'.repeat(1_000_000) })
    for (let i = 0; i < count; i++) {
      const common = { id: hive.ctx.random.id(), projectId, teamId: who.teamId, kind: 'compute', labels: '[]', input }
      const times = { submittedAt: now, ttlSeconds: 60, expiresAt: now, finishedAt: now }
      const row = { ...common, ...times, state: 'succeeded' as const, priority: 50, maxAttempts: 1, subject: '' }
      await hive.ctx.db.kysely
        .insertInto('jobs')
        .values({ ...row, submittedByUser: who.userId, submittedByKey: null, idempotencyKey: null, requestHash: null })
        .execute()
    }
  }

  test('comes whole, however long it is, and is read no faster than it is taken', async () => {
    const ada = await hive.person('ada')
    await fill(ada, 60)
    const whole = await (await exported(ada)).json()
    assert.equal((whole as { jobs: unknown[] }).jobs.length, 60)
    let pages = 0
    const session = { kind: 'user', id: ada.userId, userId: ada.userId, sessionId: ada.sessionId } as const
    const actor = { ...nobody, ...session, requestId: null, ip: null }
    const stream = await exportMyData(hive.ctx, actor, async () => void pages++)
    for (let text = ''; !text.includes('"jobs"'); ) {
      await once(stream, 'readable')
      text = String(stream.read() ?? '')
    }
    const before = pages
    for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(pages - before <= 1, `${pages - before} pages of eight jobs were read ahead`)
    stream.destroy()
    await once(stream, 'close')
    const atEnd = pages
    for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(pages, atEnd, 'nothing is read for a client that hung up')
  })

  test('breaks off when its session is ended meanwhile', async () => {
    const bob = await hive.person('bob')
    const owner = await hive.logInAgain('bob')
    await fill(bob, 60)
    const reader = (await exported(bob)).body?.getReader()
    assert.ok(reader)
    await reader.read()
    await hive.call(sessions.revokeOtherSessions, { token: owner.token })
    const drain = async () => {
      while (!(await reader.read()).done);
    }
    await assert.rejects(drain())
  })

  test('names nobody else’s network, and holds what others did to the account', async () => {
    const cleo = await hive.person('cleo')
    const queen = await hive.admin()
    const request = { params: { userId: cleo.userId } }
    const headers = await hive.stepUp(queen, admin.activateUser, request)
    const role = { ...request, body: { isAdmin: true } }
    const proof = await hive.stepUp(queen, admin.setUserRole, role)
    assert.equal((await hive.call(admin.activateUser, { token: queen.token, ...request, headers })).status, 200)
    assert.equal((await hive.call(admin.setUserRole, { token: queen.token, ...role, headers: proof })).status, 200)
    const data = (await (await exported(cleo)).json()) as Record<string, { action?: string; ip: string | null }[]>
    const act = data.auditEvents?.find((event) => event.action === 'user.made_admin')
    assert.equal(act?.ip, null)
    assert.ok(data.auditEvents?.some((event) => event.action === 'session.started' && event.ip !== null))
  })

  test('holds the invitations to the address and from the person, without anybody else’s address', async () => {
    const dora = await hive.person('dora')
    const eve = await hive.person('eve')
    const invite = async (who: Person, email: string) => {
      const teamId = (await hive.call(teams.createTeam, { token: who.token, body: { name: 'Wax' } })).body.id
      const body = { email, role: 'member' as const }
      assert.equal(
        (await hive.call(teams.createInvitation, { token: who.token, params: { teamId }, body })).status,
        201,
      )
      return teamId
    }
    const from = await invite(dora, 'a-stranger@example.net')
    const to = await invite(eve, 'DORA@example.net')
    const text = await (await exported(dora)).text()
    const { invitations } = JSON.parse(text) as Record<string, { teamId: string }[]>
    assert.deepEqual(new Set(invitations?.map((each) => each.teamId)), new Set([from, to]))
    assert.doesNotMatch(text, /a-stranger|tokenHash/)
  })
})

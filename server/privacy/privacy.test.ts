import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/privacy.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { sql } from 'kysely'
import { describeHive, type Hive, type Person, password } from '../../test/harness/hive.ts'
import { prepareIndex, receiveFiles, sweepIndexes } from '../search/search.ts'

describeHive('personal data', (open) => {
  let hive: Hive
  before(async () => {
    hive = await open()
    await hive.admin()
  })
  after(() => hive[Symbol.asyncDispose]())

  async function erase(who: Person) {
    const headers = await hive.stepUp(who, contract.eraseMe, {})
    return hive.call(contract.eraseMe, { token: who.token, headers })
  }
  const submit = (who: Person, projectId: string) => {
    const body = { kind: 'compute' as const, input: { command: ['echo', `a-secret-of-${who.username}`] } }
    return hive.call(jobs.submitJob, { token: who.token, params: { projectId }, body })
  }
  /** Every row of every table of the database, as text. */
  async function everything(): Promise<string> {
    const db = hive.ctx.db.kysely
    const names = {
      sqlite: sql<{ name: string }>`select name from sqlite_master where type = 'table'`,
      postgres: sql<{ name: string }>`select tablename as name from pg_tables where schemaname = current_schema()`,
    }
    const { rows: tables } = await names[hive.ctx.db.dialect].execute(db)
    assert.ok(tables.length > 30)
    const parts = tables.map(({ name }) => sql`select * from ${sql.table(name)}`.execute(db))
    return JSON.stringify(
      (await Promise.all(parts)).map(({ rows }) => rows),
      (_key, value) => (typeof value === 'bigint' ? String(value) : value),
    )
  }
  /** A search index of the project, as an ingest leaves it. */
  async function index(projectId: string, text: string): Promise<void> {
    const name = { projectId, token: 4711 }
    await receiveFiles(hive.ctx, { ...name, batch: 0, files: [{ path: 'notes.md', language: null, text }] })
    await prepareIndex(hive.ctx, name)
    const at = { repository: 'https://example.net/x.git', commitId: 'a'.repeat(40), branch: null, syncedAt: 1 }
    const row = { projectId, indexToken: name.token, files: 1, bytes: text.length, ...at }
    await hive.ctx.db.kysely.insertInto('mirrors').values(row).execute()
  }

  test('is handed out whole to its owner, with a fresh proof, and nothing in it opens anything', async () => {
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada, 'my honeycomb')
    await submit(ada, projectId)
    const { apiKey } = (
      await hive.call(apiKeys.createApiKey, { token: ada.token, body: { name: 'robot', scopes: ['read'] } })
    ).body
    await hive.person('somebody-else')
    assert.equal((await hive.call(contract.exportMyData, { token: ada.token })).problem.code, 'step_up_required')
    const headers = await hive.stepUp(ada, contract.exportMyData, {})
    const reply = await hive.inject({
      method: 'POST',
      url: contract.exportMyData.path,
      headers: { authorization: `Bearer ${ada.token}`, ...headers },
    })
    assert.match(String(reply.headers['content-disposition']), /attachment/)
    const data = reply.json() as Record<string, Record<string, unknown>[]>
    assert.equal(data.account?.[0]?.email, 'ada@example.net')
    assert.equal(data.sessions?.[0]?.id, ada.sessionId)
    assert.deepEqual([data.apiKeys?.[0]?.name, data.projects?.[0]?.name], ['robot', 'my honeycomb'])
    assert.match(String(data.jobs?.[0]?.input), /a-secret-of-ada/)
    assert.ok(data.auditEvents?.some((event) => event.action === 'job.submitted'))
    assert.doesNotMatch(reply.body, /argon2|somebody-else|hsr_|_hash|Hash/)
    for (const secret of [apiKey, ada.token, ada.refreshToken]) assert.ok(!reply.body.includes(secret.slice(20)))
  })

  test('is erased with everything that names the person or opens the account', async () => {
    const bob = await hive.person('bobby_tables')
    const projectId = await hive.project(bob, 'bobs-own-project')
    await submit(bob, projectId)
    await index(projectId, 'a-secret-of-bobby_tables in a file')
    await hive.logInAgain('bobby_tables', { device: { name: 'bobs-phone' } })
    const { apiKey } = (
      await hive.call(apiKeys.createApiKey, { token: bob.token, body: { name: 'bobs-key', scopes: ['write'] } })
    ).body
    assert.equal((await erase(bob)).status, 204)
    const kept = await everything()
    for (const trace of ['bobby_tables', 'bobs-own-project', 'bobs-key', 'bobs-phone', 'a-secret-of-bobby'])
      assert.ok(!kept.includes(trace), trace)
    assert.equal(await sweepIndexes(hive.ctx), 0, 'the search index went with the rest')
    for (const token of [bob.token, apiKey])
      assert.equal((await hive.call(projects.listProjects, { token })).status, 401)
    const refreshed = await hive.call(sessions.refresh, { body: { refreshToken: bob.refreshToken } })
    assert.equal(refreshed.status, 401)
    await assert.rejects(hive.logInAgain('bobby_tables'))
    // The names are free again, and who takes them is somebody else.
    const again = await hive.call(accounts.register, {
      body: { email: 'bobby_tables@example.net', username: 'bobby_tables', password },
    })
    assert.equal(again.status, 201)
  })

  test('ends running work: the worker is told at its next heartbeat, and what it sends is refused', async () => {
    const cara = await hive.person('cara')
    const worker = await hive.worker()
    const job = (await submit(cara, await hive.project(cara))).body
    const claim = (await worker.claim(10)).find((each) => each.jobId === job.id)
    assert.ok(claim)
    assert.equal((await erase(cara)).status, 204)
    const beat = await worker.call(protocol.heartbeat, { body: { leases: [claim.token] } })
    assert.deepEqual(
      beat.body.leases.map((lease) => lease.verdict),
      ['lost'],
    )
    const started = await worker.call(protocol.startLease, { params: { token: String(claim.token) } })
    assert.equal(started.problem.code, 'lease_lost')
    const shares = await hive.ctx.db.kysely
      .selectFrom('teamShares')
      .selectAll()
      .where('teamId', '=', cara.teamId)
      .execute()
    assert.deepEqual(shares, [])
  })

  test('is not erased over the heads of others: a team with members keeps an owner', async () => {
    const dora = await hive.person('dora')
    const eve = await hive.person('eve')
    const teamId = (await hive.call(teams.createTeam, { token: dora.token, body: { name: 'Shared' } })).body.id
    const member = { teamId, userId: eve.userId, role: 'member' as const, createdAt: 1 }
    await hive.ctx.db.kysely.insertInto('teamMembers').values(member).execute()
    assert.equal((await erase(dora)).problem.code, 'last_owner')
    const change = { token: dora.token, params: { teamId, userId: eve.userId }, body: { role: 'owner' as const } }
    await hive.call(teams.changeTeamMember, change)
    assert.equal((await erase(dora)).status, 204)
    assert.equal((await hive.call(teams.getTeam, { token: eve.token, params: { teamId } })).status, 200)
  })

  test('the last admin cannot erase themselves, and an admin may erase others', async () => {
    const admin = await hive.admin()
    assert.equal((await erase(admin)).problem.code, 'last_admin')
    const fay = await hive.person('fay')
    const params = { userId: fay.userId }
    const headers = await hive.stepUp(admin, contract.eraseUser, { params })
    assert.equal((await hive.call(contract.eraseUser, { token: admin.token, params, headers })).status, 204)
    const again = await hive.stepUp(admin, contract.eraseUser, { params })
    const reply = await hive.call(contract.eraseUser, { token: admin.token, params, headers: again })
    assert.equal(reply.problem.code, 'user_not_found')
  })

  test('goes while workers claim, start and complete its jobs: all of it, at the first try', async () => {
    const worker = await hive.worker({ slots: 20 })
    for (let round = 0; round < 10; round++) {
      const gus = await hive.person(`gus-${round}`)
      const projectId = await hive.project(gus)
      await Promise.all(Array.from({ length: 10 }, () => submit(gus, projectId)))
      const headers = await hive.stepUp(gus, contract.eraseMe, {})
      const work = async () => {
        const claims = await worker.claim(5)
        await Promise.all(
          claims.map(async ({ token }) => {
            await worker.call(protocol.startLease, { params: { token: String(token) } })
            const body = { outcome: 'succeeded' as const, result: {} }
            await worker.call(protocol.completeLease, { params: { token: String(token) }, body })
          }),
        )
      }
      const erased = hive.call(contract.eraseMe, { token: gus.token, headers })
      await Promise.all([work(), work(), erased, work(), submit(gus, projectId).catch(() => undefined)])
      assert.equal((await erased).status, 204)
      const left = await hive.ctx.db.kysely.selectFrom('jobs').select('id').where('projectId', '=', projectId).execute()
      assert.deepEqual(left, [])
    }
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listUsers } from '@hivesync/contracts/admin.ts'
import { legacyIngest } from '@hivesync/contracts/compat.ts'
import { getProject } from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'

async function refusals(hive: Hive) {
  const rows = await hive.ctx.db.kysely
    .selectFrom('auditEvents')
    .select(['targetId', 'ip', 'outcome', 'details'])
    .where('action', '=', 'request.refused')
    .orderBy('id')
    .execute()
  return rows.map(({ details, ...row }) => ({ ...row, ...JSON.parse(details) }))
}

describeHive('refused requests', (open) => {
  test('an ingest without a token is 401, and in the audit log without the address of a person', async () => {
    await using hive = await open()
    const body = 'https://git.example.net/project.git'
    assert.equal((await hive.call(legacyIngest, { body })).status, 401)
    await hive.refusals.settled()
    const refused = {
      targetId: 'legacyIngest',
      ip: '127.0.0.0/24',
      outcome: 'refused',
      code: 'authentication_required',
      count: 1,
    }
    assert.deepEqual(await refusals(hive), [refused])
  })

  test('a flood of them is two rows: the first, and the number of the rest', async () => {
    await using hive = await open()
    for (let i = 0; i < 30; i++) await hive.call(legacyIngest, { body: 'x', token: `guess-${i}` })
    await hive.refusals.settled()
    assert.deepEqual(
      (await refusals(hive)).map(({ code, count }) => [code, count]),
      [
        ['invalid_token', 1],
        ['invalid_token', 29],
      ],
    )
  })

  test('from more sources than are counted apart, the others share a row', async () => {
    await using hive = await open()
    for (let i = 0; i < 1200; i++) {
      const ip = `10.${i >> 8}.${i & 255}.0/24`
      hive.refusals.note({ operation: 'legacyIngest', code: 'invalid_token', ip, requestId: 'r' })
    }
    await hive.refusals.settled()
    const rows = await refusals(hive)
    assert.equal(rows.length, 1002)
    assert.equal(
      rows.filter(({ ip }) => ip === 'elsewhere').reduce((sum, { count }) => sum + count, 0),
      200,
    )
  })
})

describeHive('requests that the credentials do not allow', (open) => {
  const denied = (hive: Hive) =>
    hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['actorKind', 'actorId', 'targetId', 'details', 'ip'])
      .where('action', '=', 'request.refused')
      .orderBy('id')
      .execute()

  test('are in the audit log with who it was, the first at once and the others as one row', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    for (let index = 0; index < 20; index++) await hive.call(listUsers, { token: ada.token })
    await hive.refusals.settled()
    const rows = await denied(hive)
    assert.deepEqual(
      rows.map(({ details }) => JSON.parse(details)),
      [
        { code: 'permission_denied', count: 1 },
        { code: 'permission_denied', count: 19 },
      ],
    )
    assert.ok(rows.every((row) => row.actorId === ada.userId && row.targetId === 'listUsers' && row.ip === null))
  })

  test('are counted for each by themselves', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    for (const { token } of [ada, bob, bob]) await hive.call(listUsers, { token })
    await hive.refusals.settled()
    const counts = (await denied(hive)).map(({ actorId, details }) => [actorId, JSON.parse(details).count])
    assert.deepEqual(counts, [
      [ada.userId, 1],
      [bob.userId, 1],
      [bob.userId, 1],
    ])
  })
})

describeHive('the first access to a project', (open) => {
  test('of each session in an hour is one event, that its team’s owner can read', async () => {
    const hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const again = await hive.logInAgain('ada')
    const params = { projectId }
    for (const { token } of [ada, ada, again, ada])
      assert.equal((await hive.call(getProject, { token, params })).status, 200)
    assert.equal((await hive.call(getProject, { token: (await hive.person('bob')).token, params })).status, 404)
    hive.clock.advance(3_600_000)
    const later = await hive.logInAgain('ada')
    await hive.call(getProject, { token: later.token, params })
    await hive.app.close()
    const rows = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['actorId', 'teamId', 'projectId'])
      .where('action', '=', 'project.accessed')
      .execute()
    assert.deepEqual(rows, Array(3).fill({ actorId: ada.userId, teamId: ada.teamId, projectId }))
    await hive[Symbol.asyncDispose]()
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/oversight.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive } from '../../test/harness/hive.ts'
import { submitted, take } from '../../test/harness/jobs.ts'

describeHive('an admin sees', (open) => {
  test('every team with what it uses, found by the beginning of its name', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const { id } = (await hive.call(teams.createTeam, { token: ada.token, body: { name: 'Keepers of bees' } })).body
    await submitted(hive, ada, projectId)
    await submitted(hive, ada, projectId)
    await take(await hive.worker())
    const list = async (query: { q?: string; limit?: string; cursor?: string }) =>
      (await hive.call(contract.listAllTeams, { token: admin.token, query })).body
    const own = (await list({})).items.find((team) => team.id === ada.teamId)
    assert.deepEqual(
      [own?.isPersonal, own?.members, own?.projects, own?.waitingJobs, own?.runningJobs, own?.storedBytes],
      [true, 1, 1, 1, 1, 0],
    )
    for (const q of ['keep', 'Keepers of'])
      assert.deepEqual(
        (await list({ q })).items.map((team) => team.id),
        [id],
      )
    const other = (await hive.call(teams.createTeam, { token: ada.token, body: { name: 'Ünïon 🐝 of bees' } })).body
    for (const q of ['Ü', 'Ünïon 🐝', 'Ünïon 🐝 OF'])
      assert.deepEqual(
        (await list({ q })).items.map((team) => team.id),
        [other.id],
      )
    for (const q of ['eepers', '%', 'k_e']) assert.deepEqual((await list({ q })).items, [])
    const first = await list({ limit: '1' })
    const second = await list({ limit: '1', cursor: first.nextCursor ?? '' })
    assert.notEqual(first.items[0]?.id, second.items[0]?.id)
    assert.equal((await hive.call(contract.listAllTeams, { token: ada.token, query: {} })).status, 403)
  })

  test('every job whosever it is, by state, kind, team and project, and may cancel it', async () => {
    await using hive = await open()
    const admin = await hive.admin()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const [hers, his] = [await hive.project(ada), await hive.project(bob)]
    const first = await submitted(hive, ada, hers)
    const second = await submitted(hive, bob, his)
    const list = async (query: {
      state?: 'queued' | 'canceled'
      teamId?: string
      projectId?: string
      kind?: 'ingest'
    }) => (await hive.call(contract.listAllJobs, { token: admin.token, query })).body.items.map(({ id }) => id)
    assert.deepEqual(await list({}), [second.id, first.id])
    assert.deepEqual(await list({ teamId: ada.teamId }), [first.id])
    assert.deepEqual(await list({ projectId: his }), [second.id])
    assert.deepEqual(await list({ kind: 'ingest' }), [])
    assert.equal((await hive.call(jobs.cancelJob, { token: admin.token, params: { jobId: first.id } })).status, 200)
    assert.deepEqual(await list({ state: 'canceled' }), [first.id])
    assert.equal((await hive.call(contract.listAllJobs, { token: bob.token, query: {} })).status, 403)
  })
})

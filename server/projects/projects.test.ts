import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/projects.ts'
import { describeHive } from '../../test/harness/hive.ts'

const nowhere = '01900000-0000-7000-8000-000000000000'

describeHive('projects', (open) => {
  test('who creates a project owns it, in the personal team', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const reply = await hive.call(contract.createProject, { token: ada.token, body: { name: 'Cafe\u0301 🐝' } })
    assert.equal(reply.status, 201)
    const { id, createdAt, ...rest } = reply.body
    assert.deepEqual(rest, { name: 'Café 🐝', teamId: ada.teamId, role: 'owner', archivedAt: null })
    assert.equal(Date.parse(createdAt), hive.clock.now())
    const again = await hive.call(contract.getProject, { token: ada.token, params: { projectId: id } })
    assert.deepEqual(again.body, reply.body)
  })

  test('nobody creates a project in a team that is not theirs', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    for (const teamId of [bob.teamId, nowhere]) {
      const reply = await hive.call(contract.createProject, { token: ada.token, body: { name: 'x', teamId } })
      assert.equal(reply.problem.code, 'team_not_found')
    }
  })

  test('the list holds own projects, newest first, each on exactly one page', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      ids.unshift(await hive.project(ada))
      await hive.project(bob)
    }
    for (const limit of ['1', '2', '5', '50']) {
      const seen: string[] = []
      let cursor: string | null = null
      do {
        const query: { limit: string; cursor?: string } = cursor === null ? { limit } : { limit, cursor }
        const { body } = await hive.call(contract.listProjects, { token: ada.token, query })
        seen.push(...body.items.map(({ id }) => id))
        cursor = body.nextCursor
      } while (cursor !== null)
      assert.deepEqual(seen, ids)
    }
  })

  test("another team's project does not exist on any endpoint, not even for an admin", async () => {
    await using hive = await open()
    const [ada, eve, admin] = [await hive.person('ada'), await hive.person('eve'), await hive.admin()]
    const projectId = await hive.project(ada)
    for (const { token } of [eve, admin])
      for (const id of [projectId, nowhere]) {
        const params = { projectId: id }
        const replies = [
          await hive.call(contract.getProject, { token, params }),
          await hive.call(contract.updateProject, { token, params, body: { name: 'mine' } }),
          await hive.call(contract.listProjectMembers, { token, params }),
          await hive.call(contract.addProjectMember, { token, params, body: { username: 'eve', role: 'owner' } }),
          await hive.call(contract.changeProjectMember, {
            ...{ token, params: { ...params, userId: ada.userId }, body: { role: 'viewer' } },
          }),
          await hive.call(contract.removeProjectMember, { token, params: { ...params, userId: ada.userId } }),
        ]
        for (const reply of replies) assert.equal(reply.problem.code, 'project_not_found')
      }
    const { body } = await hive.call(contract.getProject, { token: ada.token, params: { projectId } })
    assert.equal(body.name, 'honeycomb')
  })

  test('only owners rename, archive and restore', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (const role of ['viewer', 'editor'] as const) {
      const { token } = await hive.person(role)
      await hive.call(contract.addProjectMember, {
        ...{ token: ada.token, params: { projectId }, body: { username: role, role } },
      })
      const reply = await hive.call(contract.updateProject, { token, params: { projectId }, body: { name: 'x' } })
      assert.equal(reply.problem.code, 'permission_denied')
      assert.equal((await hive.call(contract.getProject, { token, params: { projectId } })).body.role, role)
    }
    const update = async (body: { name?: string; archived?: boolean }) =>
      (await hive.call(contract.updateProject, { token: ada.token, params: { projectId }, body })).body
    const archived = await update({ archived: true })
    hive.clock.advance(1000)
    assert.deepEqual(await update({ archived: true }), archived, 'archiving twice changes nothing')
    assert.deepEqual(await update({}), archived)
    assert.deepEqual(await update({ name: 'comb' }), { ...archived, name: 'comb' })
    assert.equal((await update({ archived: false })).archivedAt, null)
  })

  test('a rename and an archiving at the same moment do not undo each other', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (let round = 0; round < 8; round++) {
      const update = (body: { name?: string; archived?: boolean }) =>
        hive.call(contract.updateProject, { token: ada.token, params: { projectId }, body })
      await update({ archived: false })
      await Promise.all([update({ name: `comb ${round}` }), update({ archived: true })])
      const { body } = await hive.call(contract.getProject, { token: ada.token, params: { projectId } })
      assert.equal(body.name, `comb ${round}`)
      assert.ok(body.archivedAt)
    }
  })

  test('a key that is bound to a project sees that one alone and makes no others', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [projectId, other] = [await hive.project(ada), await hive.project(ada)]
    const body = { name: 'ci', scopes: ['write' as const], projectId }
    const token = (await hive.call(keys.createApiKey, { token: ada.token, body })).body.apiKey
    const list = await hive.call(contract.listProjects, { token })
    assert.deepEqual(
      list.body.items.map(({ id }) => id),
      [projectId],
    )
    const foreign = await hive.call(contract.getProject, { token, params: { projectId: other } })
    assert.equal(foreign.problem.code, 'project_not_found')
    assert.equal((await hive.call(contract.createProject, { token, body: { name: 'x' } })).status, 403)
  })

  test('blank names, control characters, unknown keys and foreign ids are refused', async () => {
    await using hive = await open()
    const { token } = await hive.person('ada')
    for (const payload of [
      '{"name":" "}',
      '{"name":"a\\nb"}',
      '{"name":""}',
      '{}',
      '{"name":"a","id":"x"}',
      '{"name":1}',
    ]) {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const reply = await hive.inject({ method: 'POST', url: '/api/v1/projects', headers, payload })
      assert.equal(reply.statusCode, 400, payload)
    }
    const params = { projectId: "' or 1=1 --" }
    assert.equal((await hive.call(contract.getProject, { token, params })).status, 400)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProjectRole } from '@hivesync/contracts/access.ts'
import * as contract from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'

const add = (hive: Hive, { token }: Person, projectId: string, username: string, role: ProjectRole) =>
  hive.call(contract.addProjectMember, { token, params: { projectId }, body: { username, role } })
const change = (hive: Hive, { token }: Person, projectId: string, { userId }: Person, role: ProjectRole) =>
  hive.call(contract.changeProjectMember, { token, params: { projectId, userId }, body: { role } })
const remove = (hive: Hive, { token }: Person, projectId: string, { userId }: Person) =>
  hive.call(contract.removeProjectMember, { token, params: { projectId, userId } })

async function rolesOf(hive: Hive, projectId: string): Promise<Record<string, string>> {
  const rows = await hive.ctx.db.kysely
    .selectFrom('projectMembers')
    .innerJoin('users', 'users.id', 'projectMembers.userId')
    .select(['users.username', 'projectMembers.role'])
    .where('projectMembers.projectId', '=', projectId)
    .execute()
  return Object.fromEntries(rows.map(({ username, role }) => [username, role]))
}

async function people(hive: Hive): Promise<[Person, Person, Person]> {
  return [await hive.person('ada'), await hive.person('bob'), await hive.person('cyd')]
}

describeHive('project members', (open) => {
  test('an owner adds people, whatever the case of their name, and each once', async () => {
    await using hive = await open()
    const [ada, bob] = await people(hive)
    const projectId = await hive.project(ada)
    assert.equal((await add(hive, ada, projectId, 'BOB', 'editor')).body.username, 'bob')
    assert.equal((await add(hive, ada, projectId, 'bob', 'owner')).problem.code, 'member_exists')
    assert.equal((await add(hive, ada, projectId, 'nobody', 'viewer')).problem.code, 'user_not_found')
    const again = await Promise.all(Array.from({ length: 6 }, () => add(hive, ada, projectId, 'cyd', 'viewer')))
    assert.deepEqual(again.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409])
    const list = await hive.call(contract.listProjectMembers, { token: bob.token, params: { projectId } })
    assert.equal(list.body.items.length, 3)
    assert.equal(JSON.stringify(list.body).includes('@'), false, 'no addresses')
  })

  test('viewers and editors change nobody, but may leave', async () => {
    await using hive = await open()
    const [ada, bob, cyd] = await people(hive)
    const projectId = await hive.project(ada)
    await add(hive, ada, projectId, 'bob', 'editor')
    await add(hive, ada, projectId, 'cyd', 'viewer')
    for (const person of [bob, cyd]) {
      const replies = [
        await add(hive, person, projectId, 'queen', 'viewer'),
        await change(hive, person, projectId, person, 'owner'),
        await remove(hive, person, projectId, ada),
      ]
      for (const reply of replies) assert.equal(reply.problem.code, 'permission_denied')
    }
    assert.equal((await remove(hive, cyd, projectId, bob)).problem.code, 'permission_denied')
    assert.equal((await remove(hive, bob, projectId, bob)).status, 204)
    const gone = await hive.call(contract.getProject, { token: bob.token, params: { projectId } })
    assert.equal(gone.problem.code, 'project_not_found')
    assert.deepEqual(await rolesOf(hive, projectId), { ada: 'owner', cyd: 'viewer' })
  })

  test('the last owner neither leaves nor steps down', async () => {
    await using hive = await open()
    const [ada, bob] = await people(hive)
    const projectId = await hive.project(ada)
    await add(hive, ada, projectId, 'bob', 'editor')
    assert.equal((await remove(hive, ada, projectId, ada)).problem.code, 'last_owner')
    assert.equal((await change(hive, ada, projectId, ada, 'editor')).problem.code, 'last_owner')
    assert.equal((await change(hive, ada, projectId, ada, 'owner')).status, 200)
    assert.equal((await change(hive, ada, projectId, bob, 'owner')).status, 200)
    assert.equal((await remove(hive, bob, projectId, ada)).status, 204)
    assert.equal((await remove(hive, bob, projectId, bob)).problem.code, 'last_owner')
    const nobody = { ...ada, userId: '01900000-0000-7000-8000-000000000000' }
    assert.equal((await remove(hive, bob, projectId, nobody)).problem.code, 'member_not_found')
  })

  test('owners who step down, or demote and remove each other, at the same moment leave one', async () => {
    await using hive = await open()
    const [ada, bob, cyd] = await people(hive)
    for (let round = 0; round < 5; round++) {
      const projectId = await hive.project(ada)
      await add(hive, ada, projectId, 'bob', 'owner')
      await Promise.all(
        round % 2
          ? [change(hive, ada, projectId, ada, 'viewer'), change(hive, bob, projectId, bob, 'viewer')]
          : [remove(hive, ada, projectId, ada), remove(hive, bob, projectId, bob)],
      )
      const roles = Object.values(await rolesOf(hive, projectId))
      assert.equal(roles.filter((role) => role === 'owner').length, 1)
    }
    assert.ok(cyd)
  })

  // The team's owner keeps the rights of an owner whatever the membership says, so the three are other people.
  test('whoever has just been demoted demotes nobody any more', async () => {
    await using hive = await open()
    const [ada, bob, cyd] = await people(hive)
    for (let round = 0; round < 8; round++) {
      const projectId = await hive.project(ada)
      for (const name of ['bob', 'cyd']) await add(hive, ada, projectId, name, 'owner')
      const replies = await Promise.all([
        change(hive, bob, projectId, cyd, 'viewer'),
        change(hive, cyd, projectId, bob, 'viewer'),
      ])
      assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 403])
    }
  })

  test('a change of role holds from the next request on', async () => {
    await using hive = await open()
    const [ada, bob] = await people(hive)
    const projectId = await hive.project(ada)
    await add(hive, ada, projectId, 'bob', 'owner')
    const rename = async () =>
      (await hive.call(contract.updateProject, { token: bob.token, params: { projectId }, body: { name: 'b' } })).status
    assert.equal(await rename(), 200)
    await change(hive, ada, projectId, bob, 'editor')
    assert.equal(await rename(), 403)
    await remove(hive, ada, projectId, bob)
    assert.equal(await rename(), 404)
  })

  test('every change is audited', async () => {
    await using hive = await open()
    const [ada, bob] = await people(hive)
    const projectId = await hive.project(ada)
    await add(hive, ada, projectId, 'bob', 'viewer')
    await change(hive, ada, projectId, bob, 'editor')
    await remove(hive, ada, projectId, bob)
    const rows = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['action', 'targetId'])
      .where('projectId', '=', projectId)
      .where('action', '<>', 'project.accessed')
      .orderBy('id')
      .execute()
    assert.deepEqual(
      rows.slice(1).map(({ action, targetId }) => [action, targetId === bob.userId]),
      [
        ['project.member_added', true],
        ['project.member_changed', true],
        ['project.member_removed', true],
      ],
    )
  })
})

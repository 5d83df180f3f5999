import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { TeamRole } from '@hivesync/contracts/access.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as contract from '@hivesync/contracts/teams.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { createTeam } from './teams.ts'

describeHive('teams', (open) => {
  let hive: Hive
  let ada: Person
  let eve: Person
  before(async () => {
    hive = await open()
    ada = await hive.person('ada')
    eve = await hive.person('eve')
  })

  async function newTeam(owner: Person): Promise<string> {
    return (await hive.call(contract.createTeam, { token: owner.token, body: { name: 'Wax' } })).body.id
  }
  async function join(teamId: string, person: Person, role: TeamRole): Promise<void> {
    const row = { teamId, userId: person.userId, role, createdAt: hive.clock.now() }
    await hive.ctx.db.kysely.insertInto('teamMembers').values(row).execute()
  }
  /** A request of the person that was let in a moment ago. */
  const actorOf = ({ userId, sessionId }: Person): Actor => ({
    ...nobody,
    kind: 'user',
    id: userId,
    userId,
    sessionId,
    requestId: null,
    ip: null,
  })
  const change = (who: Person, teamId: string, userId: string, role: TeamRole) =>
    hive.call(contract.changeTeamMember, { token: who.token, params: { teamId, userId }, body: { role } })
  const remove = (who: Person, teamId: string, userId: string) =>
    hive.call(contract.removeTeamMember, { token: who.token, params: { teamId, userId } })

  test('belong to who made them, beside the personal one', async () => {
    const teamId = await newTeam(ada)
    const { items } = (await hive.call(contract.listTeams, { token: ada.token })).body
    assert.deepEqual(
      items.map((team) => [team.id, team.role, team.isPersonal]),
      [
        [teamId, 'owner', false],
        [ada.teamId, 'owner', true],
      ],
    )
    assert.equal((await hive.call(contract.getTeam, { token: ada.token, params: { teamId } })).body.name, 'Wax')
    const renamed = await hive.call(contract.updateTeam, {
      token: ada.token,
      params: { teamId },
      body: { name: 'Comb' },
    })
    assert.equal(renamed.body.name, 'Comb')
  })

  test('do not exist for others, whatever they try', async () => {
    const teamId = await newTeam(ada)
    const of = { token: eve.token, params: { teamId } }
    const replies = [
      await hive.call(contract.getTeam, of),
      await hive.call(contract.updateTeam, { ...of, body: { name: 'mine' } }),
      await hive.call(contract.listTeamMembers, of),
      await hive.call(contract.createInvitation, { ...of, body: { email: 'x@example.net', role: 'member' } }),
      await hive.call(contract.listInvitations, of),
      await change(eve, teamId, eve.userId, 'owner'),
      await remove(eve, teamId, ada.userId),
    ]
    for (const reply of replies) assert.deepEqual([reply.status, reply.problem.code], [404, 'team_not_found'])
  })

  test('are reached by a key of a member, and by no key that is bound to one project', async () => {
    const teamId = await newTeam(ada)
    const projectId = await hive.project(ada)
    const key = async (bound?: string) => {
      const body = { name: 'k', scopes: ['teams:read' as const], ...(bound && { projectId: bound }) }
      return (await hive.call(apiKeys.createApiKey, { token: ada.token, body })).body.apiKey
    }
    assert.equal((await hive.call(contract.getTeam, { token: await key(), params: { teamId } })).status, 200)
    const bound = await key(projectId)
    assert.equal((await hive.call(contract.getTeam, { token: bound, params: { teamId } })).status, 404)
    assert.deepEqual((await hive.call(contract.listTeams, { token: bound })).body.items, [])
  })

  test('nobody gives or takes a role above their own', async () => {
    const teamId = await newTeam(ada)
    const [admin, member] = [await hive.person('team-admin'), await hive.person('team-member')]
    await join(teamId, admin, 'admin')
    await join(teamId, member, 'member')
    for (const reply of [
      await change(member, teamId, member.userId, 'admin'),
      await change(admin, teamId, admin.userId, 'owner'),
      await change(admin, teamId, ada.userId, 'member'),
      await change(admin, teamId, member.userId, 'owner'),
      await remove(admin, teamId, ada.userId),
      await remove(member, teamId, admin.userId),
    ])
      assert.deepEqual([reply.status, reply.problem.code], [403, 'permission_denied'])
    assert.equal((await change(admin, teamId, member.userId, 'admin')).body.role, 'admin')
    assert.equal((await change(ada, teamId, member.userId, 'owner')).body.role, 'owner')
  })

  test('the last owner can neither leave nor step down, also when two try at once', async () => {
    const teamId = await newTeam(ada)
    assert.equal((await remove(ada, teamId, ada.userId)).problem.code, 'last_owner')
    assert.equal((await change(ada, teamId, ada.userId, 'member')).problem.code, 'last_owner')
    await join(teamId, eve, 'owner')
    const replies = await Promise.all([remove(ada, teamId, ada.userId), change(eve, teamId, eve.userId, 'member')])
    assert.deepEqual(replies.map((reply) => reply.status < 300).sort(), [false, true])
    const owners = await hive.ctx.db.kysely
      .selectFrom('teamMembers')
      .select('userId')
      .where('teamId', '=', teamId)
      .where('role', '=', 'owner')
      .execute()
    assert.equal(owners.length, 1)
  })

  test('who is deactivated is no owner that others could rely on', async () => {
    const teamId = await newTeam(ada)
    const gone = await hive.person('gone-owner')
    await join(teamId, gone, 'owner')
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', gone.userId).execute()
    assert.equal((await remove(ada, teamId, ada.userId)).problem.code, 'last_owner')
  })

  test('a removed member loses the team’s projects with the next request, also those shared one by one', async () => {
    const teamId = await newTeam(ada)
    const bob = await hive.person('bob')
    await join(teamId, bob, 'member')
    const made = await hive.call(projects.createProject, { token: ada.token, body: { name: 'hive', teamId } })
    const projectId = made.body.id
    const member = { username: 'bob', role: 'editor' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body: member })
    assert.equal((await hive.call(projects.getProject, { token: bob.token, params: { projectId } })).status, 200)
    assert.equal((await remove(ada, teamId, bob.userId)).status, 204)
    assert.equal((await hive.call(projects.getProject, { token: bob.token, params: { projectId } })).status, 404)
    assert.equal((await hive.call(contract.getTeam, { token: bob.token, params: { teamId } })).status, 404)
  })

  test('an admin of a team owns its projects until the role goes', async () => {
    const teamId = await newTeam(ada)
    const carol = await hive.person('carol')
    await join(teamId, carol, 'admin')
    const made = await hive.call(projects.createProject, { token: ada.token, body: { name: 'hive', teamId } })
    const of = { token: carol.token, params: { projectId: made.body.id } }
    assert.equal((await hive.call(projects.getProject, of)).body.role, 'owner')
    await change(ada, teamId, carol.userId, 'member')
    assert.equal((await hive.call(projects.getProject, of)).status, 404)
  })

  test('a transfer hands the team over with a fresh proof, to a member only', async () => {
    const teamId = await newTeam(ada)
    const dora = await hive.person('dora')
    const transfer = async (userId: string) => {
      const request = { params: { teamId }, body: { userId } }
      const headers = await hive.stepUp(ada, contract.transferTeam, request)
      return hive.call(contract.transferTeam, { token: ada.token, ...request, headers })
    }
    const bare = await hive.call(contract.transferTeam, {
      token: ada.token,
      params: { teamId },
      body: { userId: dora.userId },
    })
    assert.equal(bare.problem.code, 'step_up_required')
    assert.equal((await transfer(dora.userId)).problem.code, 'member_not_found')
    await join(teamId, dora, 'member')
    assert.equal((await transfer(dora.userId)).body.role, 'admin')
    assert.equal((await hive.call(contract.getTeam, { token: dora.token, params: { teamId } })).body.role, 'owner')
    assert.equal((await transfer(dora.userId)).problem.code, 'permission_denied')
  })

  test('a team is deleted with a fresh proof and without projects; a personal one never', async () => {
    const teamId = await newTeam(ada)
    const erase = async (id: string) => {
      const request = { params: { teamId: id } }
      const headers = await hive.stepUp(ada, contract.deleteTeam, request)
      return hive.call(contract.deleteTeam, { token: ada.token, ...request, headers })
    }
    const made = await hive.call(projects.createProject, { token: ada.token, body: { name: 'hive', teamId } })
    assert.equal(made.status, 201)
    assert.equal((await erase(teamId)).problem.code, 'team_not_empty')
    assert.equal((await erase(ada.teamId)).problem.code, 'personal_team')
    const empty = await newTeam(ada)
    assert.equal((await erase(empty)).status, 204)
    assert.equal((await hive.call(contract.getTeam, { token: ada.token, params: { teamId: empty } })).status, 404)
  })

  test('nobody owns more than fifty, however many are made at once', async () => {
    const greedy = await hive.person('greedy')
    const made = await Promise.all(
      Array.from({ length: 60 }, () => hive.call(contract.createTeam, { token: greedy.token, body: { name: 'x' } })),
    )
    assert.equal(made.filter((reply) => reply.status === 201).length, 49)
    assert.equal(made.find((reply) => reply.status !== 201)?.problem.code, 'too_many_teams')
  })

  test('a transfer to somebody deactivated would leave no owner, and is refused', async () => {
    const teamId = await newTeam(ada)
    const away = await hive.person('away')
    await join(teamId, away, 'member')
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', away.userId).execute()
    const request = { params: { teamId }, body: { userId: away.userId } }
    const headers = await hive.stepUp(ada, contract.transferTeam, request)
    const reply = await hive.call(contract.transferTeam, { token: ada.token, ...request, headers })
    assert.equal(reply.problem.code, 'member_not_found')
  })

  test('whoever is taken out while making a project keeps none in the team', async () => {
    const teamId = await newTeam(ada)
    const quick = await hive.person('quick')
    for (let round = 0; round < 20; round++) {
      await join(teamId, quick, 'member')
      const [made] = await Promise.all([
        hive.call(projects.createProject, { token: quick.token, body: { name: 'kept', teamId } }),
        remove(ada, teamId, quick.userId),
      ])
      if (made.status !== 201) continue
      const of = { token: quick.token, params: { projectId: made.body.id } }
      assert.equal((await hive.call(projects.getProject, of)).status, 404)
    }
  })

  test('a team that goes while projects are made in it has them or is gone, and nothing fails', async () => {
    for (let round = 0; round < 20; round++) {
      const request = { params: { teamId: await newTeam(ada) } }
      const headers = await hive.stepUp(ada, contract.deleteTeam, request)
      const { teamId } = request.params
      const [made, gone] = await Promise.all([
        hive.call(projects.createProject, { token: ada.token, body: { name: 'late', teamId } }),
        hive.call(contract.deleteTeam, { token: ada.token, ...request, headers }),
      ])
      assert.deepEqual([made.status, gone.status], made.status === 201 ? [201, 409] : [404, 204])
    }
  })

  test('a team goes with its own workers', async () => {
    const teamId = await newTeam(ada)
    const worker = await hive.worker({ teamId })
    const request = { params: { teamId } }
    const headers = await hive.stepUp(ada, contract.deleteTeam, request)
    assert.equal((await hive.call(contract.deleteTeam, { token: ada.token, ...request, headers })).status, 204)
    const beat = await worker.call(protocol.heartbeat, { body: { leases: [] } })
    assert.equal(beat.problem.code, 'worker_revoked')
  })

  test('nobody makes a team after their account was deactivated or erased', async () => {
    const late = await hive.person('late')
    await hive.ctx.db.kysely.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', late.userId).execute()
    await assert.rejects(createTeam(hive.ctx, actorOf(late), { name: 'after me' }), { code: 'session_revoked' })
  })
})

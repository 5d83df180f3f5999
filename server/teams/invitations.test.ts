import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { TeamRole } from '@hivesync/contracts/access.ts'
import * as contract from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { pruneInvitations } from './teams.ts'

describeHive('an invitation', (open) => {
  let hive: Hive
  let ada: Person
  let bob: Person
  let teamId = ''
  before(async () => {
    hive = await open()
    ada = await hive.person('ada')
    bob = await verified('bob')
  })

  async function verified(username: string): Promise<Person> {
    const person = await hive.person(username)
    await hive.ctx.db.kysely.updateTable('users').set({ emailVerifiedAt: 1 }).where('id', '=', person.userId).execute()
    return person
  }
  async function newTeam(): Promise<string> {
    return (await hive.call(contract.createTeam, { token: ada.token, body: { name: 'Wax. Co' } })).body.id
  }
  const invite = (who: Person, email: string, role: TeamRole = 'member') =>
    hive.call(contract.createInvitation, { token: who.token, params: { teamId }, body: { email, role } })
  const accept = (who: Person, invitation: string) =>
    hive.call(contract.acceptInvitation, { token: who.token, body: { invitation } })
  async function mailed(email: string): Promise<string> {
    const mail = await hive.mailTo(email)
    return /#invitation=(hsi_[\w-]+)/.exec(mail?.text ?? '')?.[1] ?? ''
  }
  async function invited(email: string, role: TeamRole = 'member'): Promise<string> {
    teamId = await newTeam()
    assert.equal((await invite(ada, email, role)).status, 201)
    return mailed(email)
  }

  test('lets its addressee in, in the role it names, once', async () => {
    const token = await invited('BOB@example.net', 'admin')
    assert.deepEqual((await accept(bob, token)).body.role, 'admin')
    assert.equal((await accept(bob, token)).problem.code, 'invalid_invitation')
    assert.deepEqual(
      (await hive.call(contract.listInvitations, { token: bob.token, params: { teamId } })).body.items,
      [],
    )
  })

  test('is worth nothing to anybody else, whoever holds the link', async () => {
    const token = await invited('bob@example.net')
    const eve = await verified('eve')
    assert.deepEqual(
      [(await accept(eve, token)).status, (await accept(eve, token)).problem.code],
      [403, 'invalid_invitation'],
    )
    assert.equal((await accept(bob, token)).status, 200)
  })

  test('waits until the account has proved its address', async () => {
    const carol = await hive.person('carol')
    const token = await invited('carol@example.net')
    assert.equal((await accept(carol, token)).problem.code, 'email_unverified')
    await verified('carol')
    assert.equal((await accept(carol, token)).status, 200)
  })

  test('is accepted once, of fifty at a time', async () => {
    const token = await invited('bob@example.net')
    const replies = await Promise.all(Array.from({ length: 50 }, () => accept(bob, token)))
    assert.equal(replies.filter((reply) => reply.status === 200).length, 1)
  })

  test('ends: taken back, replaced by a newer one, after a week', async () => {
    const first = await invited('bob@example.net')
    await invite(ada, 'bob@example.net')
    const second = await mailed('bob@example.net')
    assert.notEqual(first, second)
    assert.equal((await accept(bob, first)).problem.code, 'invalid_invitation')
    const [shown] = (await hive.call(contract.listInvitations, { token: ada.token, params: { teamId } })).body.items
    const of = { token: ada.token, params: { teamId, invitationId: shown?.id ?? '' } }
    assert.equal((await hive.call(contract.revokeInvitation, of)).status, 204)
    assert.equal((await hive.call(contract.revokeInvitation, of)).problem.code, 'invitation_not_found')
    assert.equal((await accept(bob, second)).problem.code, 'invalid_invitation')
    const third = await invited('bob@example.net')
    hive.clock.advance(7 * 86_400_000)
    const again = await hive.logInAgain('bob')
    assert.equal((await accept(again, third)).problem.code, 'invalid_invitation')
    ada = await hive.logInAgain('ada')
    bob = again
  })

  test('falls with the rights of who sent it', async () => {
    teamId = await newTeam()
    const admin = await hive.person('admin-of-team')
    const member = { teamId, userId: admin.userId, createdAt: 1 }
    await hive.ctx.db.kysely
      .insertInto('teamMembers')
      .values({ ...member, role: 'admin' })
      .execute()
    assert.equal((await invite(admin, 'bob@example.net', 'owner')).problem.code, 'permission_denied')
    assert.equal((await invite(admin, 'bob@example.net', 'admin')).status, 201)
    const token = await mailed('bob@example.net')
    const change = { token: ada.token, params: { teamId, userId: admin.userId }, body: { role: 'member' as const } }
    assert.equal((await hive.call(contract.changeTeamMember, change)).status, 200)
    assert.equal((await accept(bob, token)).problem.code, 'invalid_invitation')
  })

  test('goes to nobody’s personal team', async () => {
    const of = { token: ada.token, params: { teamId: ada.teamId } }
    const reply = await hive.call(contract.createInvitation, {
      ...of,
      body: { email: 'x@example.net', role: 'member' },
    })
    assert.equal(reply.problem.code, 'personal_team')
  })

  test('is stored as a hash and told in no reply', async () => {
    const token = await invited('bob@example.net')
    const row = await hive.ctx.db.kysely.selectFrom('invitations').selectAll().where('teamId', '=', teamId).execute()
    assert.ok(!JSON.stringify(row).includes(token.slice(4)))
  })

  test('names the team in a way that no mail program makes a link of', async () => {
    await invited('bob@example.net')
    const mail = await hive.mailTo('bob@example.net')
    assert.match(mail?.text ?? '', /"Wax\. Co"/)
    assert.doesNotMatch(mail?.text ?? '', /Wax\.Co/)
  })

  test('brings nobody back who was taken out of the team, however many they had', async () => {
    const token = await invited('bob@example.net')
    assert.equal((await accept(bob, token)).status, 200)
    assert.equal((await invite(ada, 'bob@example.net', 'admin')).status, 201)
    const spare = await mailed('bob@example.net')
    assert.equal((await accept(bob, spare)).problem.code, 'member_exists')
    const member = { token: ada.token, params: { teamId, userId: bob.userId } }
    assert.equal((await hive.call(contract.removeTeamMember, member)).status, 204)
    assert.equal((await accept(bob, spare)).problem.code, 'invalid_invitation')
  })

  test('cannot be used to flood a mailbox: ten a day from one person, however often it is taken back', async () => {
    teamId = await newTeam()
    const replies = await Promise.all(Array.from({ length: 20 }, () => invite(ada, 'victim@example.net')))
    assert.equal(replies.filter((reply) => reply.status === 201).length, 10)
    assert.equal(replies.find((reply) => reply.status !== 201)?.problem.code, 'too_many_invitations')
    const mails = (await hive.mails()).filter((mail) => mail.to === 'victim@example.net')
    assert.equal(mails.length, 10)
    hive.clock.advance(86_400_000)
    ada = await hive.logInAgain('ada')
    assert.equal((await invite(ada, 'victim@example.net')).status, 201)
  })

  test('whose time is over is forgotten, with the address it went to', async () => {
    await invited('stranger@example.net')
    hive.clock.advance(7 * 86_400_000)
    await pruneInvitations(hive.ctx)
    const rows = await hive.ctx.db.kysely.selectFrom('invitations').select('email').execute()
    assert.deepEqual(rows, [])
    ada = await hive.logInAgain('ada')
    bob = await hive.logInAgain('bob')
  })
})

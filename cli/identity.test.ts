import assert from 'node:assert/strict'
import test from 'node:test'
import { listUsers, setUserRole } from '@hivesync/contracts/admin.ts'
import { changePassword } from '@hivesync/contracts/credentials.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import { revokeOtherSessions, revokeSession } from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { idOf, session } from '../sdk/test-support/samples.ts'
import { administeredUser, factor, invitation, listedUser, member, team } from './test-support/identity-samples.ts'
import { type CliOptions, makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'
import { onTerminal, typing } from './test-support/typing.ts'

/** A server, and a command line that is logged in to it. */
async function open() {
  const peer = await startPeer()
  const home = await makeCliHome()
  serveEverything(peer)
  const env = { HIVESYNC_CLI_TOKEN: 'key', HIVESYNC_CLI_SERVER: peer.url }
  return {
    peer,
    run: (line: string, options: CliOptions = {}) => home.run(line.split(' '), { env, ...options }),
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]()
      await home[Symbol.asyncDispose]()
    },
  }
}

test('status says how the person was proved and whether the session is bound, as the server has it', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  await home.run(['login', '--server', peer.url, '--login', 'ada', '--password-stdin'], { stdin: 'secret\n' })
  const { stdout } = await home.run(['auth', 'status', '--json'])
  const { methods, deviceBound, sessionExpiresAt } = JSON.parse(stdout)
  assert.deepEqual([methods, deviceBound, sessionExpiresAt], [session.methods, false, session.expiresAt])
  assert.match(
    (await home.run(['auth', 'status'])).stdout,
    /proved by +pwd\n +device key +none: the session is not bound/,
  )
})

test('a session is ended by its id, all others by --others, and nothing without either', async () => {
  await using hive = await open()
  const ended: unknown[] = []
  hive.peer.on(revokeSession, ({ params }) => void ended.push(params.sessionId))
  hive.peer.on(revokeOtherSessions, () => void ended.push('others'))
  assert.equal((await hive.run(`auth revoke ${idOf(9)}`)).code, 0)
  assert.equal((await hive.run('auth revoke --others')).code, 0)
  assert.equal((await hive.run('auth revoke')).code, 2)
  assert.equal((await hive.run(`auth revoke ${idOf(9)} --others`)).code, 2)
  assert.deepEqual(ended, [idOf(9), 'others'])
})

test('a new password is typed twice, and sent when it was the same; nothing of it is shown', async () => {
  await using hive = await open()
  const sent: unknown[] = []
  hive.peer.on(changePassword, ({ body }) => void sent.push(body))
  const person = (again: string) =>
    hive.run('auth password', {
      stdin: typing(
        ['Current password: ', 'old-secret\r'],
        ['New password: ', 'new-secret\r'],
        ['again: ', `${again}\r`],
      ),
      tty: onTerminal,
    })
  assert.equal((await person('new-secret!')).code, 2)
  const done = await person('new-secret')
  assert.equal(done.code, 0, done.stderr)
  assert.doesNotMatch(done.stdout + done.stderr, /secret/)
  assert.equal((await hive.run('auth password --passwords-stdin', { stdin: 'a\nb\n' })).code, 0)
  assert.equal((await hive.run('auth password --passwords-stdin', { stdin: 'a\n' })).code, 2)
  assert.equal((await hive.run('auth password')).code, 2)
  const both = { currentPassword: 'old-secret', newPassword: 'new-secret' }
  assert.deepEqual(sent, [both, { currentPassword: 'a', newPassword: 'b' }])
})

test('an authenticator app is set up by a person, and the recovery codes are alone on standard output', async () => {
  await using hive = await open()
  hive.peer.on(mfa.startTotp, ({ body, headers }) => {
    assert.deepEqual([body, headers['step-up'] !== undefined], [{ name: 'Phone' }, true])
    return { secret: 'ABCDEFGHIJKLMNOP', uri: 'otpauth://totp/Hive:ada?secret=ABCDEFGHIJKLMNOP' }
  })
  const recoveryCodes = ['AAAAAA-BBBBBB-CCCCCC-DDDDDD', 'EEEEEE-FFFFFF-GGGGGG-HHHHHH']
  hive.peer.on(mfa.confirmTotp, ({ body }) => {
    if (body.code !== '222222') throw new Refusal('invalid_code')
    return { factor, recoveryCodes }
  })
  const shown = 'Code the app shows now: '
  const stdin = typing(['to confirm: ', 'secret\r'], [shown, '111111\n'], [shown, '222222\n'])
  const run = await hive.run('auth mfa totp Phone', { stdin, tty: onTerminal })
  assert.equal(run.code, 0, run.stderr)
  assert.equal(run.stdout, `${recoveryCodes.join('\n')}\n`)
  assert.match(run.stderr, /ABCD EFGH IJKL MNOP/)
  assert.match(run.stderr, /otpauth:\/\/totp\/Hive:ada/)
  for (const [line, options] of [
    ['auth mfa totp', {}],
    ['auth mfa totp --json', { tty: onTerminal }],
  ] as const)
    assert.equal((await hive.run(line, options)).code, 2)
})

test('a factor is removed by its id, its name or its kind, and a passkey by a proof for that passkey', async () => {
  await using hive = await open()
  const passkey = { ...factor, id: idOf(60), kind: 'passkey', name: 'Laptop' }
  hive.peer.on(mfa.listFactors, () => ({
    items: [factor, passkey, { ...passkey, id: idOf(61) }],
    recoveryCodesLeft: 1,
  }))
  const removed: unknown[] = []
  const acts: unknown[] = []
  hive.peer.on(mfa.stepUp, ({ body }) => {
    acts.push([body.operation, body.params?.factorId])
    return { stepUpToken: 'proof', expiresAt: factor.createdAt }
  })
  hive.peer.on(mfa.removeTotp, () => void removed.push('totp'))
  hive.peer.on(mfa.removePasskey, ({ params }) => void removed.push(params.factorId))
  const codes: number[] = []
  for (const named of ['totp', 'Phone', idOf(61), 'Laptop', 'Nobody'])
    codes.push((await hive.run(`auth mfa rm ${named} --password-stdin`, { stdin: 'secret\n' })).code)
  assert.deepEqual(codes, [0, 0, 0, 2, 4])
  assert.deepEqual(removed, ['totp', 'totp', idOf(61)])
  assert.deepEqual(acts.at(-1), ['removePasskey', idOf(61)])
})

test('teams, members and invitations are found by what people call them', async () => {
  await using hive = await open()
  const sent: unknown[] = []
  const twin = { ...team, id: idOf(70), name: 'Twin' }
  hive.peer.on(teams.listTeams, () => ({ items: [team, twin, { ...twin, id: idOf(71) }], nextCursor: null }))
  hive.peer.on(teams.changeTeamMember, ({ params, body }) => {
    sent.push([params.teamId, params.userId, body.role])
    return { ...member, role: body.role }
  })
  hive.peer.on(teams.removeTeamMember, ({ params }) => void sent.push(params.userId))
  hive.peer.on(teams.revokeInvitation, ({ params }) => void sent.push(params.invitationId))
  hive.peer.on(teams.acceptInvitation, ({ body }) => {
    sent.push(body.invitation)
    return team
  })
  const codes: number[] = []
  for (const line of [
    'role Crew GRACE admin',
    `role ${team.id} ${member.userId} owner`,
    'remove Crew grace',
    'leave Crew',
    'uninvite Crew NEW@example.org',
    'join http://hive.test/account#invitation=token-1',
    'join http://hive.test/account/invitation#token-2',
    'join token-3',
    'role Crew grace queen',
    'role Twin grace admin',
    'role Nobody grace admin',
    'remove Crew nobody',
    'uninvite Crew nobody@example.org',
  ])
    codes.push((await hive.run(`team ${line}`)).code)
  assert.deepEqual(codes, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 4, 4, 4])
  assert.deepEqual(sent, [
    [team.id, member.userId, 'admin'],
    [team.id, member.userId, 'owner'],
    member.userId,
    idOf(1),
    invitation.id,
    'token-1',
    'token-2',
    'token-3',
  ])
})

test('an admin names people by user name, address or id, and never hits another whose name only begins alike', async () => {
  await using hive = await open()
  const asked: unknown[] = []
  hive.peer.on(listUsers, ({ query }) => {
    asked.push(query.q)
    const others = { ...listedUser, id: idOf(80), username: 'graceful' }
    return { items: query.q?.includes('@') ? [listedUser] : [others, listedUser], nextCursor: null }
  })
  const changed: unknown[] = []
  hive.peer.on(setUserRole, ({ params, body }) => {
    changed.push([params.userId, body.isAdmin])
    return administeredUser
  })
  const codes: number[] = []
  for (const named of ['grace', 'grace@example.org', idOf(90), 'grac'])
    codes.push((await hive.run(`admin user make-admin ${named} --password-stdin`, { stdin: 'secret\n' })).code)
  assert.deepEqual(codes, [0, 0, 0, 4])
  assert.deepEqual(changed, [
    [listedUser.id, true],
    [listedUser.id, true],
    [idOf(90), true],
  ])
  assert.deepEqual(asked, ['grace', 'grace@example.org', 'grac'])
})

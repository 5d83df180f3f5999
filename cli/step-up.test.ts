import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import { setUserRole } from '@hivesync/contracts/admin.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import { deleteTeam } from '@hivesync/contracts/teams.ts'
import { type Peer, Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { member, stepUpToken, team } from './test-support/identity-samples.ts'
import { type CliOptions, makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'
import { onTerminal, typing } from './test-support/typing.ts'

type Method = 'password' | 'totp' | 'recovery' | 'passkey'

/** A server where the person has these methods and this one password or code; answers with what proofs were tried. */
function serveMethods(peer: Peer, methods: Method[], right: string): Record<string, unknown>[] {
  const tried: Record<string, unknown>[] = []
  serveEverything(peer)
  peer.on(mfa.startStepUp, () => ({ methods, passkey: null }))
  peer.on(mfa.stepUp, ({ body }) => {
    tried.push(body)
    if ((body.password ?? body.code) !== right) throw new Refusal('step_up_failed')
    return { stepUpToken, expiresAt: team.createdAt }
  })
  return tried
}

async function removeTeam(peer: Peer, options: CliOptions, ...more: string[]) {
  await using home = await makeCliHome()
  const env = { HIVESYNC_CLI_TOKEN: 'key', HIVESYNC_CLI_SERVER: peer.url }
  return home.run(['team', 'rm', 'Crew', ...more], { env, ...options })
}

const act = { operation: 'deleteTeam', params: { teamId: team.id } }
const password = 'Your password to confirm: '
const code = 'Code of the authenticator app, or a recovery code: '

test('a sensitive command asks for the password on a terminal, and the proof goes along', async () => {
  await using peer = await startPeer()
  const tried = serveMethods(peer, ['password'], 'secret')
  const sent: unknown[] = []
  peer.on(deleteTeam, ({ headers }) => void sent.push(headers['step-up']))
  const run = await removeTeam(peer, { stdin: typing([password, 'secret\r']), tty: onTerminal })
  assert.equal(run.code, 0, run.stderr)
  assert.deepEqual(tried, [{ ...act, method: 'password', password: 'secret' }])
  assert.deepEqual(sent, [stepUpToken])
  assert.ok(!run.stderr.includes('secret'))
})

test('what was wrong is asked for again, three times, then nothing is done', async () => {
  await using peer = await startPeer()
  const tried = serveMethods(peer, ['totp', 'recovery'], '000003')
  const typed = (...codes: string[]) => typing(...codes.map((each) => [code, `${each}\n`] as const))
  assert.equal((await removeTeam(peer, { stdin: typed('000001', '000003'), tty: onTerminal })).code, 0)
  peer.seen.length = 0
  const stdin = typed('000001', '000002', '000004', '000003')
  assert.equal((await removeTeam(peer, { stdin, tty: onTerminal })).code, 3)
  assert.deepEqual(
    tried.map((each) => each.method),
    Array(5).fill('totp'),
  )
  assert.ok(!peer.seen.some((line) => line.startsWith('DELETE')))
})

test('a script proves itself with --password-stdin or --code, or is told with exit code 2 which of them; nothing is done', async () => {
  await using peer = await startPeer()
  const tried = serveMethods(peer, ['password'], 'secret')
  const silent = await removeTeam(peer, {})
  assert.equal(silent.code, 2)
  assert.match(silent.stderr, /no terminal to ask on[\s\S]*--password-stdin/)
  const asJson = await removeTeam(peer, { tty: onTerminal }, '--json')
  assert.equal(JSON.parse(asJson.stderr).error.exitCode, 2)
  const byCode = await removeTeam(peer, {}, '--code', '123456')
  assert.equal(byCode.code, 2)
  assert.match(byCode.stderr, /--password-stdin/)
  assert.deepEqual(tried, [])
  assert.equal((await removeTeam(peer, { stdin: 'secret\n' }, '--password-stdin')).code, 0)
  const wrong = await removeTeam(peer, { stdin: 'wrong\n' }, '--password-stdin')
  assert.equal(wrong.code, 3)
  assert.match(wrong.stderr, /step_up_failed/)
  assert.equal(peer.seen.filter((line) => line.startsWith('DELETE')).length, 1)
})

test('who has a second factor proves that one: a password in its place is not sent', async () => {
  await using peer = await startPeer()
  const tried = serveMethods(peer, ['totp', 'recovery'], 'AAAAAA-BBBBBB-CCCCCC-DDDDDD')
  const byPassword = await removeTeam(peer, { stdin: 'secret\n' }, '--password-stdin')
  assert.equal(byPassword.code, 2)
  assert.match(byPassword.stderr, /--code CODE/)
  assert.equal(tried.length, 0)
  assert.equal((await removeTeam(peer, {}, '--code', 'AAAAAA-BBBBBB-CCCCCC-DDDDDD')).code, 0)
  assert.equal(tried[0]?.method, 'recovery')
})

test('with a passkey alone, or with nothing, it says where to go', async () => {
  for (const [methods, says] of [
    [['passkey'], /browser_required/],
    [[], /step_up_impossible/],
  ] as const) {
    await using peer = await startPeer()
    const tried = serveMethods(peer, [...methods], '')
    const run = await removeTeam(peer, { tty: onTerminal })
    assert.equal(run.code, 3)
    assert.match(run.stderr, says)
    assert.deepEqual(tried, [])
  }
})

test('the proof is for exactly the body that is sent', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  const tried = serveMethods(peer, ['password'], 'secret')
  const env = { HIVESYNC_CLI_TOKEN: 'key', HIVESYNC_CLI_SERVER: peer.url }
  for (const [verb, isAdmin] of [
    ['make-admin', true],
    ['remove-admin', false],
  ] as const) {
    peer.onRaw(setUserRole, async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      assert.deepEqual(JSON.parse(Buffer.concat(chunks).toString()), { isAdmin })
      const bodyDigest = createHash('sha256').update(Buffer.concat(chunks)).digest('base64url')
      const expected = { operation: 'setUserRole', params: { userId: member.userId }, bodyDigest }
      assert.deepEqual(tried.pop(), { ...expected, method: 'password', password: 'secret' })
      response.writeHead(418).end()
    })
    const run = await home.run(['admin', 'user', verb, 'grace', '--password-stdin'], { env, stdin: 'secret\n' })
    assert.match(run.stderr, /HTTP 418/)
    assert.deepEqual(tried, [])
  }
})

import assert from 'node:assert/strict'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { completeMfa, logIn, refresh } from '@hivesync/contracts/sessions.ts'
import { type Peer, Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { accessTokenFrom, type ReadProof, readProof } from '../sdk/test-support/read-proof.ts'
import { session, tokensOf, user } from '../sdk/test-support/samples.ts'
import { type CliHome, makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'
import { onTerminal, typing } from './test-support/typing.ts'

const publicUrl = 'https://hive.example.net'
const mfa = { mfaRequired: true, mfaToken: 'pending', expiresIn: 300 } as const

/** A server whose sessions can be bound; answers with the proofs and the tokens that came with refreshes. */
function serveBinding(peer: Peer): { proofs: ReadProof[]; refreshTokens: string[] } {
  const seen: { proofs: ReadProof[]; refreshTokens: string[] } = { proofs: [], refreshTokens: [] }
  peer.on(logIn, () => ({ ...tokensOf(1), accessToken: accessTokenFrom(publicUrl), user }))
  peer.on(refresh, async ({ headers, body }) => {
    if (headers.dpop !== undefined) seen.proofs.push(await readProof(headers.dpop))
    seen.refreshTokens.push(body.refreshToken)
    return { ...tokensOf(2), session: { ...session, deviceBound: headers.dpop !== undefined } }
  })
  return seen
}

async function logInTo(peer: Peer, home: CliHome, ...more: string[]) {
  const argv = ['login', '--server', peer.url, '--login', 'ada', '--password-stdin', ...more]
  return home.run(argv, { stdin: 'secret\n' })
}

async function profileOf(home: CliHome) {
  return JSON.parse(await readFile(join(home.path, 'default.json'), 'utf8'))
}

test('a new session is bound at once to a key that only its profile has, with proofs that name the server’s public address', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const seen = serveBinding(peer)
  const run = await logInTo(peer, home, '--json')
  assert.equal(run.code, 0, run.stderr)
  assert.equal(JSON.parse(run.stdout).deviceBound, true)
  const { credentials } = await profileOf(home)
  assert.deepEqual(seen.refreshTokens, ['refresh-1'])
  assert.equal(credentials.refreshToken, 'refresh-2')
  assert.equal(seen.proofs[0]?.header.jwk.x, credentials.deviceKey.x)
  assert.equal(seen.proofs[0]?.claims.htu, `${publicUrl}/api/v1/auth/refresh`)
  assert.equal((await stat(join(home.path, 'default.json'))).mode & 0o777, 0o600)
  assert.ok(!(run.stdout + run.stderr).includes(credentials.deviceKey.d))
})

test('later refreshes are proved with the same key; one that was damaged is refused with the remedy', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const seen = serveBinding(peer)
  await logInTo(peer, home)
  const { version: _, ...profile } = await profileOf(home)
  await home.writeProfile({ ...profile, credentials: { ...profile.credentials, expiresAtMs: 0 } })
  assert.equal((await home.run(['auth', 'status'])).code, 0)
  assert.deepEqual(seen.proofs[1]?.header.jwk, seen.proofs[0]?.header.jwk)
  const deviceKey = { ...profile.credentials.deviceKey, x: 'AAAA' }
  await home.writeProfile({ ...profile, credentials: { ...profile.credentials, expiresAtMs: 0, deviceKey } })
  const damaged = await home.run(['auth', 'status'])
  assert.equal(damaged.code, 78)
  assert.match(damaged.stderr, /device_key_unusable[\s\S]*hivesync login/)
})

test('where the binding is refused the login holds, without the key, and the person is told', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  serveBinding(peer)
  peer.on(refresh, () => {
    throw new Refusal('invalid_device_proof')
  })
  const run = await logInTo(peer, home, '--quiet')
  assert.equal(run.code, 0, run.stderr)
  assert.match(run.stderr, /not bound to a key of this machine: The device proof is not valid/)
  const { credentials } = await profileOf(home)
  assert.equal(credentials.deviceKey, undefined)
  assert.equal(credentials.refreshToken, 'refresh-1')
})

test('where the reply to the binding is lost the key is kept: the session may be bound to it already', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  serveBinding(peer)
  peer.onRaw(refresh, (request) => void request.socket.destroy())
  const run = await logInTo(peer, home)
  assert.equal(run.code, 0, run.stderr)
  assert.match(run.stderr, /cannot be reached.*the next refresh tries again/)
  assert.equal((await profileOf(home)).credentials.deviceKey.crv, 'Ed25519')
})

test('a server that takes the proof and binds nothing is not believed to have', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  serveBinding(peer)
  peer.on(refresh, () => tokensOf(2))
  const run = await logInTo(peer, home)
  assert.match(run.stderr, /the server did not take the key/)
  assert.equal(JSON.parse((await logInTo(peer, home, '--json')).stdout).deviceBound, false)
})

test('the token of a known device goes along with later logins, also after a logout, and to no other server', async () => {
  await using peer = await startPeer()
  await using other = await startPeer()
  await using home = await makeCliHome()
  const sent: unknown[] = []
  for (const each of [peer, other]) {
    serveEverything(each)
    each.on(logIn, ({ body }) => {
      sent.push(body.device)
      return { ...tokensOf(1), user, ...(sent.length === 1 ? { deviceToken: 'device-1' } : {}) }
    })
  }
  await logInTo(peer, home)
  await home.run(['logout'])
  await logInTo(peer, home)
  await logInTo(other, home)
  await logInTo(other, home)
  const name = 'hivesync on test'
  assert.deepEqual(sent, [{ name }, { name, token: 'device-1' }, { name }, { name }])
})

test('a server that is typed in at the prompt does not get the token of the one in the profile', async () => {
  await using peer = await startPeer()
  await using other = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  serveEverything(other)
  peer.on(logIn, () => ({ ...tokensOf(1), user, deviceToken: 'device-1' }))
  await logInTo(peer, home)
  const sent: unknown[] = []
  other.on(logIn, ({ body }) => {
    sent.push(body.device?.token)
    return { ...tokensOf(1), user }
  })
  const stdin = typing(['Server [', `${other.url}\n`], ['Login: ', 'ada\n'], ['Password: ', 'secret\r'])
  const run = await home.run(['login'], { stdin, tty: onTerminal })
  assert.equal(run.code, 0, run.stderr)
  assert.deepEqual(sent, [undefined])
})

test('a second factor is the code of the app or a recovery code, told apart by their form', async () => {
  for (const [typed, method] of [
    ['123 456', 'totp'],
    ['AAAAAA-BBBBBB-CCCCCC-DDDDDD', 'recovery'],
  ] as const) {
    await using peer = await startPeer()
    await using home = await makeCliHome()
    serveEverything(peer)
    peer.on(logIn, () => ({ ...mfa, methods: ['totp' as const, 'recovery' as const] }))
    const sent: unknown[] = []
    peer.on(completeMfa, ({ body }) => {
      sent.push(body)
      return { ...tokensOf(1), user }
    })
    assert.equal((await logInTo(peer, home, '--code', typed)).code, 0)
    assert.deepEqual(sent, [{ mfaToken: 'pending', method, code: typed }])
  }
})

test('a wrong code is asked for again on a terminal, three times, and in a script refused', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  peer.on(logIn, () => ({ ...mfa, methods: ['totp' as const] }))
  const tried: (string | undefined)[] = []
  peer.on(completeMfa, ({ body }) => {
    tried.push(body.code)
    if (body.code !== '000003') throw new Refusal('invalid_code')
    return { ...tokensOf(1), user }
  })
  const code = 'Code of the authenticator app, or a recovery code: '
  const person = (...codes: string[]) =>
    home.run(['login', '--server', peer.url, '--login', 'ada'], {
      stdin: typing(['Password: ', 'secret\r'], ...codes.map((typed) => [code, `${typed}\n`] as const)),
      tty: onTerminal,
    })
  assert.equal((await person('000001', '000002', '000003')).code, 0)
  assert.equal((await person('000001', '000002', '000004')).code, 3)
  assert.equal((await logInTo(peer, home, '--code', '000001')).code, 3)
  const silent = await logInTo(peer, home)
  assert.equal(silent.code, 2)
  assert.match(silent.stderr, /--code CODE/)
  assert.equal(tried.length, 7)
})

test('an account that needs a passkey is sent to the browser', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  peer.on(logIn, () => ({ ...mfa, methods: ['passkey' as const] }))
  const run = await logInTo(peer, home)
  assert.equal(run.code, 3)
  assert.match(run.stderr, /passkey.*browser_required[\s\S]*login --browser/)
})

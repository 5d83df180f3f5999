import assert from 'node:assert/strict'
import { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { getMe } from '@hivesync/contracts/accounts.ts'
import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { getJob, submitJob } from '@hivesync/contracts/jobs.ts'
import { Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { idOf, jobOf } from '../sdk/test-support/samples.ts'
import { makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'

const session = {
  kind: 'session',
  accessToken: 'access-1',
  refreshToken: 'refresh-1',
  expiresAtMs: 1e15,
  username: 'ada',
  sessionExpiresAt: '2026-02-02T03:04:05.678Z',
} as const

const refusals: readonly (readonly [ErrorCode, exitCode: number])[] = [
  ['job_not_found', 4],
  ['authentication_required', 3],
  ['session_revoked', 3],
  ['permission_denied', 3],
  ['job_finished', 6],
  ['queue_full', 6],
  ['rate_limited', 75],
  ['overloaded', 75],
  ['invalid_request', 2],
  ['internal', 1],
]
for (const [code, exitCode] of refusals) {
  test(`${code} ends with ${exitCode}, as JSON on standard error with --json`, async () => {
    await using peer = await startPeer()
    await using home = await makeCliHome()
    peer.on(getJob, () => {
      throw new Refusal(code, { 'retry-after': '7' })
    })
    const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
    const run = await home.run(['job', 'get', idOf(5), '--json'], { env })
    assert.equal(run.code, exitCode)
    assert.equal(run.stdout, '')
    const { error } = JSON.parse(run.stderr)
    assert.deepEqual(
      [error.code, error.exitCode, error.requestId, error.retryAfterSeconds],
      [code, exitCode, 'req-1', 7],
    )
    const forPeople = await home.run(['job', 'get', idOf(5)], { env })
    assert.match(forPeople.stderr, new RegExp(`^error: .+ \\(${code}\\)\n`))
  })
}

test('a command line that is wrong ends with 2, says why, and sends nothing', async () => {
  await using home = await makeCliHome()
  const env = { HIVESYNC_CLI_SERVER: 'http://127.0.0.1:9', HIVESYNC_CLI_TOKEN: 'x' }
  const wrong: readonly (readonly [argv: string[], says: RegExp])[] = [
    [['jbo', 'ls'], /Did you mean: hivesync job\n/],
    [['job', 'lss'], /Did you mean: hivesync job ls\n/],
    [['job', 'ls', '--jsno'], /Did you mean --json\?/],
    [['job', 'ls', '--limit'], /--limit needs a value/],
    [['job', 'ls', '--limit', '--json'], /--limit needs a value/],
    [['job', 'ls', '--limit=0'], /from 1 to/],
    [['job', 'ls', '--json=yes'], /--json takes no value/],
    [['job', 'ls', '--state', 'flying'], /--state is one of: queued/],
    [['job', 'ls', 'extra'], /one argument too many: extra/],
    [['job', 'get'], /An argument is missing/],
    [['job', 'get', '..'], /params\/jobId/],
    [['run'], /An argument is missing/],
    [['run', 'ls', '-l'], /There is no option -l\n|There is no option -l .*\n/],
    [['ingest', '--upload-pack=x'], /There is no option --upload-pack/],
    [['--bogus'], /There is no option --bogus/],
    [['job', 'ls', '--profile', '../x'], /A profile name is/],
    [['job', 'ls', '--server', 'ftp://x'], /server address is not acceptable/],
    [['run', '--env', '=x', '--', 'ls'], /NAME=VALUE/],
    [['run', '--file', '/does/not/exist', '--', 'ls'], /cannot be read: ENOENT/],
  ]
  for (const [argv, says] of wrong) {
    const run = await home.run(argv, { env })
    assert.equal(run.code, 2, `${argv.join(' ')}: ${run.stderr}`)
    assert.match(run.stderr, says)
    assert.equal(run.stdout, '')
  }
})

test('a server that is away ends with 5; a page of a proxy with 5, or 75 when it says that it is for now', async () => {
  const peer = await startPeer()
  await using home = await makeCliHome()
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  for (const [status, code] of [
    [200, 5],
    [404, 5],
    [502, 75],
    [503, 75],
  ] as const) {
    const page = '<script>\u001b]0;owned\u0007</script>'
    peer.onRaw(getMe, (_, response) => response.writeHead(status, { 'content-type': 'text/html' }).end(page))
    const run = await home.run(['auth', 'status'], { env })
    assert.equal(run.code, code)
    assert.ok(!run.stderr.includes('owned'))
  }
  await peer[Symbol.asyncDispose]()
  const gone = await home.run(['auth', 'status'], { env })
  assert.equal(gone.code, 5)
  assert.match(gone.stderr, /cannot be reached \(unreachable\)\n {2}http.*ECONNREFUSED/)
})

test('nobody logged in ends with 3 and the way in', async () => {
  await using home = await makeCliHome()
  for (const argv of [
    ['auth', 'status'],
    ['job', 'get', idOf(5)],
  ]) {
    const run = await home.run(argv)
    assert.equal(run.code, 3)
    assert.match(run.stderr, /hivesync login/)
  }
})

test('a profile that others can read, that is a link or that is damaged is refused with 78 and the remedy', async () => {
  await using home = await makeCliHome()
  const path = await home.writeProfile({ server: 'http://127.0.0.1:9', credentials: session })
  await chmod(path, 0o640)
  const open = await home.run(['auth', 'status'])
  assert.equal(open.code, 78)
  assert.match(open.stderr, /can be read by others \(mode 0640\)/)
  assert.match(open.stderr, /chmod 600/)
  await chmod(path, 0o600)
  await symlink(path, join(home.path, 'linked.json'))
  assert.equal((await home.run(['auth', 'status', '--profile', 'linked'])).code, 78)
  for (const text of ['', '{', '[]', '{"version":2}', '{"version":1,"credentials":{"kind":"session"}}']) {
    await writeFile(path, text)
    const damaged = await home.run(['auth', 'status'])
    assert.equal(damaged.code, 78)
    assert.match(damaged.stderr, /not a profile of this version/)
  }
})

test('a login is refused before anything is asked when it could not be kept', async () => {
  await using home = await makeCliHome()
  const path = await home.writeProfile({})
  await chmod(path, 0o644)
  const run = await home.run(['login', '--login', 'ada', '--password-stdin', '--server', 'http://127.0.0.1:9'])
  assert.equal(run.code, 78)
})

test('a setting that is misspelt, or stands against a login, is not passed over', async () => {
  await using home = await makeCliHome()
  const misspelt = await home.run(['auth', 'status'], { env: { HIVESYNC_CLI_TOKN: 'x' } })
  assert.equal(misspelt.code, 78)
  assert.match(misspelt.stderr, /HIVESYNC_CLI_TOKN is not a setting/)
  const both = await home.run(['login'], { env: { HIVESYNC_CLI_TOKEN: 'x' } })
  assert.equal(both.code, 2)
  const plain = await home.run(['auth', 'status', '--server', 'http://192.0.2.1'], { env: { HIVESYNC_CLI_TOKEN: 'x' } })
  assert.equal(plain.code, 78)
  assert.match(plain.stderr, /--allow-http/)
})

test('credentials of one server are not used with another', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  await home.writeProfile({
    server: 'https://hive.example.net',
    credentials: session,
    project: { id: idOf(3), name: 'A' },
  })
  const run = await home.run(['auth', 'status', '--server', peer.url])
  assert.equal(run.code, 3)
  assert.deepEqual(peer.seen, [])
})

test('a login is kept in a file for its owner alone, and a logout takes it away', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  await chmod(home.path, 0o755)
  const login = await home.run(['login', '--server', peer.url, '-l', 'ada', '--password-stdin'], { stdin: 'secret\n' })
  assert.equal(login.code, 0, login.stderr)
  const path = join(home.path, 'default.json')
  assert.ok(login.stdout.includes(path))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal((await stat(home.path)).mode & 0o777, 0o700)
  assert.deepEqual(await readdir(home.path), ['default.json'])
  const status = await home.run(['auth', 'status'])
  assert.match(status.stdout, /ada <ada@example.org>, admin/)
  assert.ok(status.stdout.includes(path))
  assert.doesNotMatch(login.stdout + login.stderr + status.stdout, /access-|refresh-|secret/)
  const logout = await home.run(['logout'])
  assert.equal(logout.code, 0)
  assert.ok(peer.seen.includes('POST /api/v1/auth/logout'))
  assert.doesNotMatch(await readFile(path, 'utf8'), /access|refresh/)
  assert.equal((await home.run(['auth', 'status'])).code, 3)
})

test('what is asked on a terminal is answered without the password appearing', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const answers = [
    ['Server [http://127.0.0.1:7070]: ', `${peer.url}\n`],
    ['Login: ', 'ada\n'],
    ['Password: ', 'secrex\u007ft\r'],
  ] as const
  let next = 0
  const stdin = (stderr: string): string | undefined => {
    const answer = answers[next]
    if (answer === undefined || !stderr.includes(answer[0])) return undefined
    next++
    return answer[1]
  }
  const run = await home.run(['login'], { stdin, tty: { stdin: true, stderr: true } })
  assert.equal(run.code, 0, run.stderr)
  assert.ok(!run.stderr.includes('secre'))
  assert.equal((await home.run(['auth', 'status'])).code, 0)
})

test('an API key is kept as it is, even one that may not read the account', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  peer.on(getMe, ({ headers }) => {
    assert.equal(headers.authorization, 'Bearer hs_narrow')
    throw new Refusal('permission_denied')
  })
  const run = await home.run(['login', '--with-token', '--server', peer.url], { stdin: 'hs_narrow\n' })
  assert.equal(run.code, 0, run.stderr)
  peer.on(submitJob, ({ headers }) => {
    assert.equal(headers.authorization, 'Bearer hs_narrow')
    return jobOf()
  })
  assert.equal((await home.run(['ingest', 'https://example.org/a', '--no-wait', '-p', idOf(3)])).code, 0)
})

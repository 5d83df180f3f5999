import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { approveDeviceLogin, denyDeviceLogin } from '@hivesync/contracts/device-login.ts'
import { refresh } from '@hivesync/contracts/sessions.ts'
import { type CliHome, type CliOptions, makeCliHome } from '../../cli/test-support/run-cli.ts'
import { onTerminal, typing } from '../../cli/test-support/typing.ts'
import { totpCodeAt } from '../../server/platform/crypto/totp.ts'
import { describeHive, type Hive, type Person, password } from '../harness/hive.ts'

const server = 'http://127.0.0.1:7070'
// As behind a proxy: the server is known by another name than the one it is reached under.
const publicUrl = 'https://hive.example.net'

/** Requests of the command line, brought to the server without a network. */
function fetchFrom(hive: Hive): typeof fetch {
  return async (input, init = {}) => {
    const { pathname, search } = new URL(String(input))
    const reply = await hive.inject({
      method: init.method as 'GET',
      url: `${pathname}${search}`,
      headers: init.headers as Record<string, string>,
      ...(init.body == null ? {} : { payload: String(init.body) }),
    })
    const headers = Object.entries(reply.headers).map(([name, value]): [string, string] => [name, String(value)])
    return new Response(reply.statusCode === 204 ? null : reply.body, { status: reply.statusCode, headers })
  }
}

/** Somebody's command line: a home of its own, the server's clock, and waits that pass at once. */
async function openCli(hive: Hive): Promise<CliHome> {
  const home = await makeCliHome()
  const base: CliOptions = {
    env: { HIVESYNC_CLI_SERVER: server },
    fetch: fetchFrom(hive),
    now: hive.clock.now,
    onSleep: (ms) => hive.clock.advance(ms),
  }
  return { ...home, run: (argv, options) => home.run(argv, { ...base, ...options }) }
}

async function ok(cli: CliHome, line: string, options?: CliOptions) {
  const run = await cli.run(line.split(' '), options)
  assert.equal(run.code, 0, `${line}: ${run.stderr}`)
  return run
}

async function json(cli: CliHome, line: string, options?: CliOptions) {
  return JSON.parse((await ok(cli, `${line} --json`, options)).stdout)
}

const stdin = `${password}\n`
const logIn = 'login --login ada --password-stdin'

async function credentialsOf(cli: CliHome) {
  return JSON.parse(await readFile(join(cli.path, 'default.json'), 'utf8')).credentials
}

/** Logs in with the browser; `decide` is what happens there, in another session, once the code is shown. */
async function logInWithBrowser(hive: Hive, cli: CliHome, decide: (userCode: string) => Promise<void>) {
  let userCode = ''
  return cli.run(['login', '--browser'], {
    stdin: (stderr) => {
      userCode = /enter the code (\S+)/.exec(stderr)?.[1] ?? userCode
      return undefined
    },
    onSleep: async (ms) => {
      hive.clock.advance(ms)
      const decided = userCode
      userCode = ''
      if (decided !== '') await decide(decided)
    },
  })
}

async function approve(hive: Hive, person: Person, userCode: string): Promise<void> {
  const body = { userCode }
  const headers = await hive.stepUp(person, approveDeviceLogin, { body })
  assert.equal((await hive.call(approveDeviceLogin, { token: person.token, headers, body })).status, 204)
}

describeHive('signing in from the command line', (open) => {
  let hive: Hive
  before(async () => {
    hive = await open({ config: { publicUrl } })
  })
  after(() => hive[Symbol.asyncDispose]())

  test('binds the session to the machine: its tokens alone are worth nothing, and the owner goes on', async () => {
    await hive.person('ada')
    await using cli = await openCli(hive)
    assert.equal((await json(cli, logIn, { stdin })).deviceBound, true)
    const { refreshToken } = await credentialsOf(cli)
    const stolen = await hive.call(refresh, { body: { refreshToken } })
    assert.equal(stolen.problem.code, 'device_proof_required')
    hive.clock.advance(16 * 60_000)
    const status = await json(cli, 'auth status')
    assert.deepEqual([status.user.username, status.deviceBound, status.methods], ['ada', true, ['pwd']])
    assert.notEqual((await credentialsOf(cli)).refreshToken, refreshToken)
  })

  test('works without the binding when the clock of the machine is wrong, and says so', async () => {
    await hive.person('ada')
    await using cli = await openCli(hive)
    const run = await ok(cli, logIn, { stdin, now: () => hive.clock.now() - 10 * 60_000 })
    assert.match(run.stderr, /not bound to a key of this machine.*older than a minute or from the future/)
    hive.clock.advance(16 * 60_000)
    assert.equal((await json(cli, 'auth status')).deviceBound, false)
  })

  test('asks for the authenticator app once it is set up, and its codes prove what is sensitive', async () => {
    await hive.person('lovelace')
    await using cli = await openCli(hive)
    const logInAs = 'login --login lovelace --password-stdin'
    await ok(cli, logInAs, { stdin })

    const answer = typing(['to confirm: ', `${password}\r`], ['Code the app shows now: ', 'now\n'])
    let secret = ''
    const code = () => totpCodeAt(secret, hive.clock.now())
    const setup = await ok(cli, 'auth mfa totp Phone', {
      tty: onTerminal,
      stdin: (stderr) => {
        secret = /secret=([A-Z2-7]+)/.exec(stderr)?.[1] ?? ''
        return answer(stderr)?.replace('now', () => code())
      },
    })
    const recoveryCodes = setup.stdout.trim().split('\n')
    assert.equal(recoveryCodes.length, 10)
    await ok(cli, 'logout')

    assert.equal((await cli.run(logInAs.split(' '), { stdin })).code, 2)
    hive.clock.advance(30_000)
    await ok(cli, `${logInAs} --code ${code()}`, { stdin })
    const status = await json(cli, 'auth status')
    assert.deepEqual([status.deviceBound, [...status.methods].sort()], [true, ['mfa', 'otp', 'pwd']])

    await ok(cli, 'team new Crew')
    assert.equal((await cli.run(['team', 'rm', 'Crew', '--password-stdin'], { stdin })).code, 2)
    const reused = await cli.run(['team', 'rm', 'Crew', '--code', code()])
    assert.equal(reused.code, 3, reused.stderr)
    hive.clock.advance(30_000)
    await ok(cli, `team rm Crew --code ${code()}`)
    assert.equal((await cli.run(['team', 'members', 'Crew'])).code, 4)

    const { recoveryCodes: renewed } = await json(cli, `auth recovery-codes --code ${recoveryCodes[0]}`)
    assert.equal((await cli.run(['auth', 'mfa', 'rm', 'totp', '--code', recoveryCodes[1] ?? ''])).code, 3)
    await ok(cli, `auth mfa rm totp --code ${renewed[0]}`)
    await ok(cli, logInAs, { stdin })
  })

  test('with the browser lets in who was approved by another session, bound to the machine', async () => {
    const { token: _, ...grace } = await hive.person('grace')
    const person = await hive.logInAgain('grace')
    await using cli = await openCli(hive)
    const run = await logInWithBrowser(hive, cli, (userCode) => approve(hive, person, userCode))
    assert.equal(run.code, 0, run.stderr)
    assert.ok(run.stderr.includes(publicUrl))
    const status = await json(cli, 'auth status')
    assert.deepEqual([status.user.id, status.deviceBound], [grace.userId, true])
  })

  test('with the browser lets nobody in who was turned down', async () => {
    await hive.person('grace')
    const { token } = await hive.logInAgain('grace')
    await using cli = await openCli(hive)
    const run = await logInWithBrowser(hive, cli, async (userCode) => {
      assert.equal((await hive.call(denyDeviceLogin, { token, body: { userCode } })).status, 204)
    })
    assert.equal(run.code, 3, run.stderr)
    assert.match(run.stderr, /device_login_denied/)
    assert.equal((await cli.run(['auth', 'status'])).code, 3)
  })

  test('with a code lets in who was approved on another command line, and tells there whom', async () => {
    await hive.person('lamarr')
    await using laptop = await openCli(hive)
    await ok(laptop, 'login --login lamarr --password-stdin', { stdin })
    await using device = await openCli(hive)
    const denied = await logInWithBrowser(hive, device, async (userCode) => {
      await ok(laptop, `auth approve ${userCode} --deny`)
    })
    assert.equal(denied.code, 3)
    const run = await logInWithBrowser(hive, device, async (userCode) => {
      const approval = await ok(laptop, `auth approve ${userCode} --password-stdin`, { stdin })
      assert.match(approval.stderr, /Letting in: hivesync on test, from /)
    })
    assert.equal(run.code, 0, run.stderr)
    assert.equal((await json(device, 'auth status')).user.username, 'lamarr')
  })

  test('is what a sensitive command needs: an API key proves nobody, whatever it may do', async () => {
    await hive.person('liskov')
    await using cli = await openCli(hive)
    await ok(cli, 'login --login liskov --password-stdin', { stdin })
    await ok(cli, 'team new Crew')
    const key = (await ok(cli, 'key create ci --scope write')).stdout.trim()
    const env = { HIVESYNC_CLI_SERVER: server, HIVESYNC_CLI_TOKEN: key }
    const run = await cli.run(['team', 'rm', 'Crew', '--password-stdin'], { env, stdin })
    assert.equal(run.code, 3)
    assert.match(run.stderr, /only a person who is logged in may do it/)
    await ok(cli, 'team members Crew', { env })
  })

  test('shows where one is logged in, ends one session or all others, and their next request is refused', async () => {
    await hive.person('hopper')
    const [second, third] = [await hive.logInAgain('hopper'), await hive.logInAgain('hopper')]
    await using cli = await openCli(hive)
    await ok(cli, 'login --login hopper --password-stdin', { stdin })
    const { items } = await json(cli, 'auth sessions')
    assert.equal(items.length, 4)
    assert.deepEqual(
      items
        .filter(({ current }: { current: boolean }) => current)
        .map((each: { deviceName: string }) => each.deviceName),
      ['hivesync on test'],
    )
    const statusOf = async ({ token }: Person) => (await hive.call(getMe, { token })).status
    await ok(cli, `auth revoke ${second.sessionId}`)
    assert.deepEqual([await statusOf(second), await statusOf(third)], [401, 200])
    await ok(cli, 'auth revoke --others')
    assert.equal(await statusOf(third), 401)
    assert.equal((await json(cli, 'auth sessions')).items.length, 1)
  })
})

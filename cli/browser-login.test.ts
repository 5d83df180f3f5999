import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { pollDeviceLogin, startDeviceLogin } from '@hivesync/contracts/device-login.ts'
import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { logIn } from '@hivesync/contracts/sessions.ts'
import { type Peer, Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { tokensOf, user } from '../sdk/test-support/samples.ts'
import { type CliOptions, makeCliHome, nowMs } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'
import { onTerminal, typing } from './test-support/typing.ts'

const started = {
  deviceCode: 'device-code',
  userCode: 'BCDF-GHJK',
  verificationUri: 'https://hive.example.net/device',
  verificationUriComplete: 'https://hive.example.net/device#BCDF-GHJK',
  expiresIn: 900,
  interval: 5,
}

/** Refuses the polls with these codes, one after the other, then lets the device in. */
function serveDevice(peer: Peer, refusals: readonly (ErrorCode | 'lost')[]): void {
  serveEverything(peer)
  peer.on(startDeviceLogin, ({ body }) => {
    assert.deepEqual(body, { deviceName: 'hivesync on test' })
    return started
  })
  let polls = 0
  const reply = { ...tokensOf(1), user }
  peer.on(pollDeviceLogin, ({ body }) => {
    assert.equal(body.deviceCode, started.deviceCode)
    const code = refusals[polls++]
    if (code === 'lost') throw new Refusal('overloaded', { 'retry-after': '25' })
    if (code !== undefined) throw new Refusal(code)
    return reply
  })
}

/** Runs the login with a clock that the waits move. */
async function logInAt(peer: Peer, options: CliOptions & { argv?: string[] } = {}) {
  await using home = await makeCliHome()
  const waits: number[] = []
  let now = nowMs
  const run = await home.run(options.argv ?? ['login', '--browser', '--server', peer.url], {
    now: () => now,
    onSleep: (ms) => {
      waits.push(ms / 1000)
      now += ms
    },
    ...options,
  })
  const kept = await readFile(join(home.path, 'default.json'), 'utf8').catch(() => '{}')
  return { ...run, waits, credentials: JSON.parse(kept).credentials }
}

test('the code and the address are shown, and the session is kept once it was approved', async () => {
  await using peer = await startPeer()
  serveDevice(peer, ['device_login_pending', 'device_login_pending'])
  const run = await logInAt(peer)
  assert.equal(run.code, 0, run.stderr)
  for (const shown of [started.verificationUri, started.verificationUriComplete, started.userCode])
    assert.ok(run.stderr.includes(shown))
  assert.ok(!run.stderr.includes(started.deviceCode))
  assert.match(run.stdout, /Logged in to .* as ada/)
  assert.equal(run.credentials.refreshToken, 'refresh-2')
  assert.deepEqual(run.waits, [5, 5, 5])
})

test('the server sets the pace: slow_down adds 5 s for good, and a server that is busy is left alone for as long as it says', async () => {
  await using peer = await startPeer()
  serveDevice(peer, ['slow_down', 'device_login_pending', 'lost', 'device_login_pending'])
  const run = await logInAt(peer)
  assert.equal(run.code, 0, run.stderr)
  assert.deepEqual(run.waits, [5, 10, 10, 25, 25])
})

test('a login that was turned down, or whose code has expired, ends with 3 and keeps nothing', async () => {
  for (const [code, says] of [
    ['device_login_denied', /turned down/],
    ['invalid_device_code', /The code has expired/],
  ] as const) {
    await using peer = await startPeer()
    serveDevice(peer, [code])
    const run = await logInAt(peer)
    assert.equal(run.code, 3)
    assert.match(run.stderr, says)
    assert.equal(run.credentials, undefined)
  }
})

test('nobody is waited for longer than the code lives', async () => {
  await using peer = await startPeer()
  serveDevice(
    peer,
    Array.from({ length: 1000 }, () => 'device_login_pending' as const),
  )
  const run = await logInAt(peer)
  assert.equal(run.code, 3)
  assert.match(run.stderr, /device_login_expired/)
  assert.equal(run.waits.length, started.expiresIn / started.interval)
})

test('Ctrl-C gives up with 130', async () => {
  await using peer = await startPeer()
  serveDevice(
    peer,
    Array.from({ length: 1000 }, () => 'device_login_pending' as const),
  )
  let interrupt: (() => void) | undefined
  let waits = 0
  const run = await logInAt(peer, {
    onStart: (press) => {
      interrupt = press
    },
    onSleep: () => {
      if (++waits === 3) interrupt?.()
    },
  })
  assert.equal(run.code, 130)
  assert.equal(waits, 3)
})

test('whoever needs a passkey is led through the browser on a terminal', async () => {
  await using peer = await startPeer()
  serveDevice(peer, [])
  peer.on(logIn, () => ({
    mfaRequired: true as const,
    mfaToken: 'pending',
    expiresIn: 300,
    methods: ['passkey' as const],
  }))
  const argv = ['login', '--login', 'ada', '--server', peer.url]
  const run = await logInAt(peer, { argv, stdin: typing(['Password: ', 'secret\r']), tty: onTerminal })
  assert.equal(run.code, 0, run.stderr)
  assert.match(run.stderr, /signs in with a passkey/)
  assert.ok(run.stderr.includes(started.userCode))
})

test('--browser stands alone, and shows its code to people only', async () => {
  await using peer = await startPeer()
  for (const more of [['--json'], ['--login', 'ada'], ['--code', '123456'], ['--with-token']]) {
    const run = await logInAt(peer, { argv: ['login', '--browser', '--server', peer.url, ...more] })
    assert.equal(run.code, 2, more.join(' '))
  }
  assert.deepEqual(peer.seen, [])
})

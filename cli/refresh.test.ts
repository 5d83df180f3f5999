import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { listSessions, refresh } from '@hivesync/contracts/sessions.ts'
import { Refusal, startPeer } from '../sdk/test-support/peer.ts'
import { session, tokensOf, user } from '../sdk/test-support/samples.ts'
import { makeCliHome } from './test-support/run-cli.ts'

const command = resolve(import.meta.dirname, '../bin/hivesync.ts')
const expired = {
  kind: 'session',
  accessToken: 'access-1',
  refreshToken: 'refresh-1',
  expiresAtMs: 0,
  username: 'ada',
  sessionExpiresAt: '2100-01-01T00:00:00.000Z',
} as const

/** A server that ends the session when a refresh token is used twice: without the ten seconds of grace of a real one. */
async function startStrictPeer() {
  const peer = await startPeer()
  let number = 1
  peer.on(refresh, ({ body }) => {
    if (body.refreshToken !== `refresh-${number}`) throw new Refusal('invalid_refresh_token')
    number++
    return tokensOf(number)
  })
  peer.on(getMe, ({ headers }) => {
    if (headers.authorization !== `Bearer access-${number}`) throw new Refusal('token_expired')
    return user
  })
  peer.on(listSessions, () => ({ items: [session], nextCursor: null }))
  return peer
}

test('processes that find the session expired at the same time refresh it once', async () => {
  await using peer = await startStrictPeer()
  await using home = await makeCliHome()
  const path = await home.writeProfile({ server: peer.url, credentials: expired })
  const env = { HIVESYNC_CLI_HOME: home.path }
  // All of them meet at a lock that is held, so that none is done before the last has begun.
  const lock = join(home.path, 'default.lock')
  await writeFile(lock, String(process.pid))
  const started = Promise.all(
    Array.from({ length: 4 }, () =>
      promisify(execFile)(process.execPath, [command, 'auth', 'status', '--json'], { env }),
    ),
  )
  while ((await readdir(home.path)).filter((name) => name.startsWith('default.lock.')).length < 4) await setImmediate()
  await rm(lock)
  const runs = await started
  for (const { stdout } of runs) assert.equal(JSON.parse(stdout).user.username, 'ada')
  assert.equal(peer.seen.filter((line) => line.includes('/refresh')).length, 1)
  assert.equal(JSON.parse(await readFile(path, 'utf8')).credentials.refreshToken, 'refresh-2')
  assert.deepEqual(await readdir(home.path), ['default.json'])
})

test('the lock of a process that died is taken over', async () => {
  await using peer = await startStrictPeer()
  await using home = await makeCliHome()
  await home.writeProfile({ server: peer.url, credentials: expired })
  const gone = await promisify(execFile)(process.execPath, ['-p', 'process.pid'])
  await writeFile(join(home.path, 'default.lock'), gone.stdout.trim())
  const run = await home.run(['auth', 'status'])
  assert.equal(run.code, 0, run.stderr)
  assert.deepEqual(await readdir(home.path), ['default.json'])
})

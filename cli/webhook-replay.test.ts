import assert from 'node:assert/strict'
import test from 'node:test'
import { replayWebhook } from '@hivesync/contracts/webhooks.ts'
import { startPeer } from '../sdk/test-support/peer.ts'
import { idOf } from '../sdk/test-support/samples.ts'
import { makeCliHome } from './test-support/run-cli.ts'
import { serveEverything } from './test-support/serve-everything.ts'

test('webhook replay says from when on there is more, and goes on from there', async () => {
  await using peer = await startPeer()
  await using home = await makeCliHome()
  serveEverything(peer)
  const next = '2026-01-02T03:04:05.678Z'
  const asked: unknown[] = []
  peer.on(replayWebhook, ({ body }) => {
    asked.push(body)
    return asked.length === 1
      ? { replayed: 1000, remaining: true, next }
      : { replayed: 7, remaining: false, next: null }
  })
  const env = { HIVESYNC_CLI_TOKEN: 'hs_key', HIVESYNC_CLI_SERVER: peer.url }
  const replay = (since: string) =>
    home.run(['webhook', 'replay', idOf(70), '--failed', since, '--team', 'Crew'], { env })
  assert.match((await replay('2h')).stderr, new RegExp(`There is more: .* ${next} `))
  const second = await replay(next)
  assert.deepEqual([second.code, second.stderr.includes('There is more')], [0, false])
  assert.deepEqual(asked[1], { failedSince: next })
  assert.equal((await replay('yesterday')).code, 2)
})

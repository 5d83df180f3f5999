import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '../platform/config.ts'
import { createNet } from '../platform/net/net.ts'
import { startReceiver } from '../platform/net/test-receiver.ts'
import { webhookSink } from './sink-webhook.ts'

const items = [
  { kind: 'leaf', seq: 0, at: 0, line: '{"seq":0,"leaf":{"action":"é"}}' },
  { kind: 'checkpoint', seq: 0, at: 0, line: '{"checkpoint":"x"}' },
] as const
const netTo = (allow: string) => createNet(parseConfig({ HIVESYNC_EGRESS_ALLOW: allow }).egress, Date.now)

test('an https sink gets the lines by POST with its token, and keeps them by answering 2xx', async () => {
  const receiver = await startReceiver()
  const net = netTo('127.0.0.0/8')
  const url = `${receiver.origin}/in`
  await webhookSink(net, { url, token: 'a-token' }).deliver(items)
  await webhookSink(net, { url, token: null }).deliver(items)
  const [first, second] = receiver.received
  assert.equal(first?.body, items.map(({ line }) => `${line}\n`).join(''))
  assert.deepEqual([first?.path, first?.headers.authorization], ['/in', 'Bearer a-token'])
  assert.equal(first?.headers['content-type'], 'application/jsonl; charset=utf-8')
  assert.equal(second?.headers.authorization, undefined)
  await net.close()
  await receiver.close()
})

test('a redirect, a refusal and an address that is not allowed are no delivery', async () => {
  const answers = [301, 400, 500]
  const receiver = await startReceiver((_request, response, index) => {
    response.writeHead(answers[index] ?? 500, { location: '/elsewhere' }).end()
  })
  const net = netTo('127.0.0.0/8')
  for (const status of answers)
    await assert.rejects(webhookSink(net, { url: receiver.origin, token: null }).deliver(items), {
      message: `the sink answered ${status}`,
    })
  assert.equal(receiver.received.length, 3, 'no redirect is followed')
  const closed = netTo('')
  await assert.rejects(webhookSink(closed, { url: receiver.origin, token: null }).deliver(items), {
    name: 'NetFailure',
  })
  await net.close()
  await closed.close()
  await receiver.close()
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { watchJob } from '@hivesync/contracts/jobs.ts'
import fc from 'fast-check'
import { type JobEvent, watchJobEvents } from './index.ts'
import { createEventParser } from './server-sent-events.ts'
import { openClient } from './test-support/open-client.ts'
import { startPeer } from './test-support/peer.ts'
import { eventStream, idOf, logEvent } from './test-support/samples.ts'

const credentials = { kind: 'api-key', apiKey: 'hs_key' } as const
const type = { 'content-type': 'text/event-stream; charset=utf-8' }
const end = ['end', { state: 'succeeded' }] as const

function open(server: string) {
  return openClient({ server, credentials })
}

async function collect(events: AsyncIterable<JobEvent>): Promise<string[]> {
  const seen: string[] = []
  for await (const event of events) seen.push(event.type === 'log' ? event.data.text : event.type)
  return seen
}

test('events are the same however the stream is cut into pieces', () => {
  const stream =
    ': hello\r\nid: 1\nevent: a\ndata: x\ndata:  y\n\nretry: 70\rdata\r\rid: 2\r\ndata: ü\r\n\r\nid: 3\n\ndata: cut'
  const whole = createEventParser('').push(stream)
  assert.deepEqual(whole, [
    { id: '1', event: 'a', data: 'x\n y' },
    { id: '1', event: 'message', data: '' },
    { id: '2', event: 'message', data: 'ü' },
  ])
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), stream.length]
      const parser = createEventParser('')
      const events = places.slice(1).flatMap((place, index) => parser.push(stream.slice(places[index], place)))
      assert.deepEqual(events, whole)
      assert.equal(parser.lastEventId(), '3')
      assert.equal(parser.retryMs(), 70)
    }),
  )
})

test('an event without an end is refused before it fills the memory', () => {
  const parser = createEventParser('')
  const flood = () => {
    for (let i = 0; i < 100; i++) parser.push(`data: ${'x'.repeat(64 * 1024)}\n`)
  }
  assert.throws(flood, { code: 'reply_too_large' })
})

test('a dropped connection is resumed after the last event, and the job’s end ends it', async () => {
  await using peer = await startPeer()
  const resumed: unknown[] = []
  peer.onRaw(watchJob, (request, response) => {
    resumed.push(request.headers['last-event-id'])
    assert.equal(request.headers.authorization, 'Bearer hs_key')
    response.writeHead(200, type)
    if (resumed.length === 1) {
      response.write(eventStream([['state', { state: 'running' }], logEvent(0, 'stdout', 'one')]))
      // Half an event is on its way when the connection breaks.
      response.write('id: 3\nevent: log\ndata: {"se', () => request.socket.destroy())
    } else if (resumed.length === 2) {
      response.end(eventStream([logEvent(1, 'stdout', 'two'), ['novelty', 1]], 3))
    } else response.end(eventStream([['state', { state: 'succeeded' }], logEvent(2, 'stderr', 'three'), end], 5))
  })
  const reconnects: number[] = []
  const events = watchJobEvents(open(peer.url), idOf(5), { onReconnect: ({ failures }) => reconnects.push(failures) })
  assert.deepEqual(await collect(events), ['state', 'one', 'two', 'state', 'three'])
  assert.deepEqual(resumed, [undefined, '2', '4'])
  assert.deepEqual(reconnects, [1, 1])
})

test('a refusal that a new connection would not change is thrown at once', async () => {
  await using peer = await startPeer()
  await assert.rejects(collect(watchJobEvents(open(peer.url), idOf(5))), { code: 'not_found' })
  peer.onRaw(watchJob, (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'))
  await assert.rejects(collect(watchJobEvents(open(peer.url), idOf(5))), { code: 'unexpected_reply' })
  assert.equal(peer.seen.length, 2)
})

test('a server that stays away is given up after the stated number of failures', async () => {
  await using peer = await startPeer()
  peer.onRaw(watchJob, (request) => request.socket.destroy())
  const events = watchJobEvents(open(peer.url), idOf(5), { maxFailures: 3 })
  await assert.rejects(collect(events), { code: 'unreachable' })
  assert.equal(peer.seen.length, 4)
})

test('a busy server is asked again, and one that falls silent counts as lost', async () => {
  await using peer = await startPeer()
  peer.onRaw(watchJob, (_, response) => {
    if (peer.seen.length === 1) {
      response.writeHead(503, { 'content-type': 'text/plain', 'retry-after': '0' }).end()
    } else if (peer.seen.length === 2) response.writeHead(200, type).flushHeaders()
    else response.writeHead(200, type).end(eventStream([['state', { state: 'succeeded' }], end]))
  })
  assert.deepEqual(await collect(watchJobEvents(open(peer.url), idOf(5), { idleMs: 100 })), ['state'])
})

test('an event that does not say what it must is refused, not guessed', async () => {
  await using peer = await startPeer()
  for (const bad of [
    ['state', { state: 'flying' }],
    ['log', 'text'],
    ['progress', { phase: 1 }],
  ] as const) {
    peer.onRaw(watchJob, (_, response) => response.writeHead(200, type).end(eventStream([bad])))
    await assert.rejects(collect(watchJobEvents(open(peer.url), idOf(5))), { code: 'unexpected_reply' })
  }
})

test('an abort ends the stream, also between two connections', async () => {
  await using peer = await startPeer()
  const abort = new AbortController()
  peer.onRaw(watchJob, (_, response) => response.writeHead(200, type).write(': alive\n\n', () => abort.abort()))
  const { signal } = abort
  await assert.rejects(collect(watchJobEvents(open(peer.url), idOf(5), { signal })), { name: 'AbortError' })
  const second = new AbortController()
  peer.onRaw(watchJob, (request) => request.socket.destroy())
  const slow = openClient({ server: peer.url, credentials, random: () => 1 })
  const onReconnect = (): void => second.abort()
  const waiting = watchJobEvents(slow, idOf(5), { signal: second.signal, onReconnect })
  await assert.rejects(collect(waiting), { name: 'AbortError' })
})

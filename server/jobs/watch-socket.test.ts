import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, log, progress, submitted, take } from '../../test/harness/jobs.ts'
import {
  frame,
  listen,
  type Message,
  openBytes,
  openSocket,
  refusalOf,
  upgradeRequest,
} from '../../test/harness/live.ts'
import { maxStreams } from '../platform/http/live-loop.ts'

const pathOf = ({ id }: { id: string }) => `/api/v1/jobs/${id}/events`
const line = (seq: number) => ({ seq, stream: 'stdout' as const, at: 0, text: `${seq}\n` })
const isState = (state: string) => (message: Message) => message.event === 'state' && message.data.state === state

async function queued(hive: Hive) {
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada)
  const job = await submitted(hive, ada, projectId)
  return { ada, projectId, job, path: pathOf(job), worker: await hive.worker() }
}

describeHive('watching a job over a WebSocket', (open) => {
  test('says what the event stream says, with the same ids, and ends with the job', async () => {
    await using hive = await open()
    const { ada, path, worker } = await queued(hive)
    const reader = await openSocket(hive, path, { token: ada.token })
    await reader.until(isState('queued'))
    const claim = await take(worker)
    await reader.until(isState('running'))
    await progress(worker, claim, { phase: 'run', progress: 40, message: 'Training…' })
    await reader.until(({ event }) => event === 'progress')
    await log(worker, claim, [line(0), line(1)])
    await complete(worker, claim)
    assert.deepEqual(await reader.ended, [1000, 'done'])
    const replayed = await openSocket(hive, path, { token: ada.token })
    await replayed.ended
    assert.deepEqual(
      replayed.messages.map(({ event, data }) => (event === 'state' ? data.state : event)),
      ['queued', 'leased', 'running', 'phase', 'progress', 'succeeded', 'log', 'log', 'end'],
    )
    for (const [i, { id }] of replayed.messages.entries()) {
      const rest = await openSocket(hive, `${path}?after=${id}`, { token: ada.token })
      await rest.ended
      assert.deepEqual(
        rest.messages,
        i < replayed.messages.length - 1 ? replayed.messages.slice(i + 1) : replayed.messages.slice(-1),
      )
      const events = await hive.inject({
        url: path,
        headers: { authorization: `Bearer ${ada.token}`, 'last-event-id': id },
      })
      assert.deepEqual(
        [...events.body.matchAll(/^id: (.*)$/gm)].map(([, each]) => each),
        rest.messages.map((each) => each.id),
      )
    }
    assert.ok(hive.logged.some((entry) => entry.includes('"status":101') && entry.includes('/events')))
  })

  test('a browser brings its token as a protocol, and is answered with the other one alone', async () => {
    await using hive = await open()
    const { ada, path } = await queued(hive)
    const protocols = ['hivesync.v1', `bearer.${ada.token}`]
    const reader = await openSocket(hive, path, { protocols, headers: { origin: hive.ctx.config.publicUrl } })
    assert.equal(reader.socket.protocol, 'hivesync.v1')
    await reader.until(isState('queued'))
    reader.socket.terminate()
    const wrong: Record<string, Parameters<typeof refusalOf>[2]> = {
      'the token alone': { protocols: [`bearer.${ada.token}`] },
      'two tokens': { protocols: [...protocols, 'bearer.x'] },
      'a token beside a header': { protocols, token: ada.token },
      'a made-up one': { protocols: ['hivesync.v1', 'bearer.x'] },
    }
    for (const [what, asking] of Object.entries(wrong)) {
      const { status, code } = await refusalOf(hive, path, asking)
      assert.deepEqual([status, code], [401, 'invalid_token'], what)
    }
    assert.ok(!hive.logged.some((entry) => entry.includes(ada.token)))
  })

  test('whoever may not is refused with a problem before there is a WebSocket', async () => {
    await using hive = await open()
    const { ada, path } = await queued(hive)
    const eve = await hive.person('eve')
    const { apiKey } = (
      await hive.call(keys.createApiKey, { token: ada.token, body: { name: 'x', scopes: ['ingest'] } })
    ).body
    const refused: [Parameters<typeof refusalOf>[2], number, string][] = [
      [{}, 401, 'authentication_required'],
      [{ token: 'x' }, 401, 'invalid_token'],
      [{ token: eve.token }, 404, 'job_not_found'],
      [{ token: apiKey }, 403, 'permission_denied'],
      [{ token: ada.token, headers: { origin: 'https://evil.example' } }, 403, 'origin_refused'],
      [{ token: ada.token, headers: { origin: 'null' } }, 403, 'origin_refused'],
      [{ token: ada.token, headers: { host: 'evil.example', origin: 'http://evil.example' } }, 400, 'invalid_request'],
    ]
    for (const [asking, status, code] of refused) {
      const refusal = await refusalOf(hive, path, asking)
      assert.deepEqual([refusal.status, refusal.code], [status, code])
      assert.equal(refusal.headers['content-type'], 'application/problem+json')
      assert.equal(refusal.headers.connection, 'close')
      assert.equal(refusal.headers['x-content-type-options'], 'nosniff')
    }
    assert.equal((await refusalOf(hive, `${path}?after=x`, { token: ada.token })).code, 'invalid_request')
  })

  test('a handshake that is none is refused with a problem', async () => {
    await using hive = await open()
    const { ada, path } = await queued(hive)
    const refused: [Record<string, string>, RegExp][] = [
      [
        { 'Sec-WebSocket-Version': '8' },
        /^HTTP\/1\.1 426 [\s\S]*sec-websocket-version: 13\r\n[\s\S]*"websocket_version"/i,
      ],
      [{ 'Sec-WebSocket-Version': '' }, /^HTTP\/1\.1 426 [\s\S]*"websocket_version"/],
      [{ 'Sec-WebSocket-Key': 'short' }, /^HTTP\/1\.1 400 [\s\S]*"invalid_request"/],
      [{ 'Sec-WebSocket-Key': '' }, /^HTTP\/1\.1 400 [\s\S]*"invalid_request"/],
      [{ 'Sec-WebSocket-Protocol': 'a,,b' }, /^HTTP\/1\.1 400 [\s\S]*"invalid_request"/],
      [{ 'Sec-WebSocket-Protocol': 'a, a' }, /^HTTP\/1\.1 400 [\s\S]*"invalid_request"/],
    ]
    for (const [lines, reply] of refused) {
      const { socket, all } = await openBytes(hive)
      socket.write(upgradeRequest(path, ada.token, lines))
      assert.match((await all).toString('latin1'), reply, JSON.stringify(lines))
    }
  })

  test('ends at once, with a code that says why, when the reader’s rights or session end', async () => {
    await using hive = await open()
    const { ada, projectId, path } = await queued(hive)
    const bob = await hive.person('bob')
    const body = { username: 'bob', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    const [own, bobs] = [
      await openSocket(hive, path, { protocols: ['hivesync.v1', `bearer.${ada.token}`] }),
      await openSocket(hive, path, { token: bob.token }),
    ]
    await Promise.all([own.until(isState('queued')), bobs.until(isState('queued'))])
    await hive.call(projects.removeProjectMember, { token: ada.token, params: { projectId, userId: bob.userId } })
    assert.deepEqual(await bobs.ended, [4404, 'job_not_found'])
    await hive.call(sessions.logOut, { token: ada.token })
    assert.deepEqual(await own.ended, [4401, 'session_revoked'])
    assert.deepEqual([own.messages.length, bobs.messages.length], [1, 1])
  })

  test('counts with event streams against what one person may hold open', async () => {
    await using hive = await open()
    const { ada, job, path } = await queued(hive)
    const readers = await Promise.all(
      Array.from({ length: maxStreams }, () => openSocket(hive, path, { token: ada.token })),
    )
    const refused = await refusalOf(hive, path, { token: ada.token })
    assert.deepEqual([refused.status, refused.code], [429, 'rate_limited'])
    assert.equal((await hive.call(contract.watchJob, { token: ada.token, params: { jobId: job.id } })).status, 429)
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    await Promise.all(readers.map(({ ended }) => ended))
    await (await openSocket(hive, path, { token: ada.token })).ended
  })

  test('ends with the server', async () => {
    const hive = await open()
    const { ada, path } = await queued(hive)
    const reader = await openSocket(hive, path, { token: ada.token })
    await reader.until(isState('queued'))
    const stopped = hive[Symbol.asyncDispose]()
    assert.deepEqual(await reader.ended, [1001, 'stopping'])
    await stopped
  })
})

describeHive(
  'the bytes of a WebSocket',
  (open) => {
    /** A reader that has had its first message and speaks bytes from then on. */
    async function watching(hive: Hive) {
      const { ada, path } = await queued(hive)
      const bytes = await openBytes(hive)
      bytes.socket.write(upgradeRequest(path, ada.token))
      await bytes.until('"state":"queued"')
      return { ada, path, ...bytes }
    }
    /** The code with which the server closed. */
    const closeCodeOf = (received: Buffer): number => {
      const at = received.lastIndexOf(Buffer.from([0x88]))
      return received.readUInt16BE(at + 2)
    }

    describe('that no client of ours would send close it', () => {
      const hostile: Record<string, [Buffer, number]> = {
        'a text': [frame(1, 'hello'), 1008],
        'binary data': [frame(2, Buffer.alloc(10)), 1008],
        'an empty text': [frame(1, ''), 1008],
        'a frame larger than is read': [frame(1, Buffer.alloc(5000)), 1009],
        'a frame that says it is larger': [frame(1, '', { length: 60_000 }), 1009],
        'an unmasked frame': [frame(1, 'hello', { bare: true }), 1002],
        'an unknown frame': [frame(5, ''), 1002],
        'a compressed frame': [Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
        'a long ping': [frame(9, Buffer.alloc(126)), 1002],
        'text that is none': [frame(1, Buffer.from([0xff])), 1007],
      }
      for (const [what, [sent, code]] of Object.entries(hostile))
        test(what, async () => {
          await using hive = await open()
          const { socket, all } = await watching(hive)
          socket.write(sent)
          assert.equal(closeCodeOf(await all), code)
        })
    })

    test('are answered where they ask for a sign of life', async () => {
      await using hive = await open()
      const { socket, until } = await watching(hive)
      socket.write(frame(9, 'are you there'))
      await until('\x8a\x0dare you there')
      socket.destroy()
    })

    test('that never answer a sign of life are cut off', async () => {
      await using hive = await open()
      const { all, until } = await watching(hive)
      hive.clock.advance(15_000)
      hive.ctx.bus.publish('identity')
      await until('\x89\x00')
      hive.clock.advance(15_000)
      hive.ctx.bus.publish('identity')
      assert.equal((await all).includes(Buffer.from([0x88, 2])), false)
    })

    test('that stop in the midst of a request or a frame harm nobody', async () => {
      await using hive = await open()
      const { ada, path, socket } = await watching(hive)
      socket.write(frame(1, 'hello').subarray(0, 3))
      const half = await openBytes(hive)
      half.socket.write(upgradeRequest(path, ada.token).slice(0, -10))
      half.socket.destroy()
      socket.destroy()
      await half.all
      const reader = await openSocket(hive, path, { token: ada.token })
      await reader.until(isState('queued'))
      reader.socket.terminate()
    })

    test('of a request behind one that waits for its reply close the connection', async () => {
      await using hive = await open()
      const { ada, path } = await queued(hive)
      const { socket, all } = await openBytes(hive)
      const plain = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada.token}\r\n\r\n`
      socket.write(plain + upgradeRequest(path, ada.token))
      assert.ok(!(await all).includes('101 Switching'))
      assert.equal((await hive.inject({ url: '/health' })).statusCode, 200)
    })

    test('of one that is refused are the last of its connection, also where it never hangs up', async () => {
      await using hive = await open()
      const { ada } = await queued(hive)
      const port = await listen(hive)
      const closed = new Promise((resolve) =>
        hive.app.server.once('connection', (socket) => socket.once('close', resolve)),
      )
      const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
      client.on('error', () => {}) // a reset is an end like another
      client.write(upgradeRequest(pathOf({ id: ada.userId }), ada.token))
      await closed
      client.destroy()
    })

    test('of a request for an upgrade where there is none are served as any other', async () => {
      await using hive = await open()
      const { ada } = await queued(hive)
      const { socket, all } = await openBytes(hive)
      socket.write(upgradeRequest('/api/v1/projects', ada.token, { Connection: 'Upgrade, close' }))
      assert.match((await all).toString('latin1'), /^HTTP\/1\.1 200 /)
    })
  },
  { only: 'sqlite' },
)

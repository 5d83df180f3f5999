import assert from 'node:assert/strict'
import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { complete, log, progress, submitted, take } from '../../test/harness/jobs.ts'
import { maxStreams } from '../platform/http/live-loop.ts'

interface ServerEvent {
  id: string
  event: string
  data: Record<string, unknown>
}

/** A reader of a live stream over a real socket. */
class Reader {
  readonly events: ServerEvent[] = []
  readonly ended: Promise<void>
  readonly response: IncomingMessage
  readonly #request: ClientRequest
  #text = ''
  #notice: () => void = () => {}

  constructor(request: ClientRequest, response: IncomingMessage) {
    this.#request = request
    this.response = response
    this.ended = new Promise((resolve) => response.once('close', resolve))
    response.on('error', () => {}) // a stream that is cut off ends like any other for the test
    response.setEncoding('utf8').on('data', (text: string) => this.#read(text))
  }

  #read(text: string): void {
    const blocks = (this.#text + text).split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) {
      const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]))
      const id = fields.get('id')
      if (id !== undefined)
        this.events.push({ id, event: fields.get('event') ?? '', data: JSON.parse(fields.get('data') ?? '') })
    }
    this.#notice()
  }

  /** Waits until one of the events so far is as asked. */
  async until(isIt: (event: ServerEvent) => boolean): Promise<ServerEvent> {
    for (;;) {
      const found = this.events.find(isIt)
      if (found !== undefined) return found
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#notice = resolve
        }),
        this.ended.then(() => assert.fail(`ended after ${JSON.stringify(this.events)}`)),
      ])
    }
  }

  hangUp(): void {
    this.#request.destroy()
  }
}

async function listen(hive: Hive): Promise<number> {
  if (!hive.app.server.listening) await hive.app.listen({ host: '127.0.0.1', port: 0 })
  return (hive.app.server.address() as AddressInfo).port
}

async function watch(hive: Hive, { token }: { token: string }, jobId: string, lastEventId?: string): Promise<Reader> {
  const headers = {
    authorization: `Bearer ${token}`,
    ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
  }
  const options = { host: '127.0.0.1', port: await listen(hive), path: `/api/v1/jobs/${jobId}/events`, headers }
  return new Promise((resolve, reject) => {
    const request = get({ ...options, agent: false }, (response) => resolve(new Reader(request, response)))
    request.on('error', reject)
  })
}

async function queued(hive: Hive) {
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada)
  const job = await submitted(hive, ada, projectId)
  return { ada, projectId, job, worker: await hive.worker() }
}

/** The same query, whose execution says that it begins and then waits. */
function holding<Q extends object>(query: Q, begins: () => void, go: Promise<void>): Q {
  return new Proxy(query, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name === 'execute') {
          begins()
          return go.then(() => value.apply(target, args))
        }
        const next: unknown = value.apply(target, args)
        return typeof next === 'object' && next !== null ? holding(next, begins, go) : next
      }
    },
  })
}

const line = (seq: number) => ({ seq, stream: 'stdout' as const, at: 0, text: `${seq}\n` })
const isState = (state: string) => (event: ServerEvent) => event.event === 'state' && event.data.state === state

describeHive('watching a job', (open) => {
  test('state, progress and log arrive live, and the stream ends with the job', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const reader = await watch(hive, ada, job.id)
    assert.equal(reader.response.statusCode, 200)
    assert.match(reader.response.headers['content-type'] ?? '', /^text\/event-stream/)
    assert.equal(reader.response.headers['cache-control'], 'no-store')
    await reader.until(isState('queued'))
    const claim = await take(worker)
    await reader.until(isState('running'))
    await progress(worker, claim, { phase: 'run', progress: 40, message: 'Training…\n\nevent: forged' })
    const shown = await reader.until(({ event }) => event === 'progress')
    assert.equal(shown.data.message, 'Training…\n\nevent: forged')
    await log(worker, claim, [line(0), line(1)])
    await reader.until(({ event, data }) => event === 'log' && data.seq === 1)
    await complete(worker, claim)
    await reader.ended
    assert.deepEqual(
      reader.events.map(({ event, data }) => (event === 'state' ? data.state : event)),
      ['queued', 'leased', 'running', 'phase', 'progress', 'log', 'log', 'succeeded', 'end'],
    )
    assert.deepEqual(reader.events.at(-1)?.data, { state: 'succeeded' })
  })

  test('a reader that comes back with any Last-Event-ID gets exactly the rest', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const claim = await take(worker)
    for (let i = 0; i < 5; i++) {
      await progress(worker, claim, { phase: 'run', progress: i })
      await log(worker, claim, [line(2 * i), line(2 * i + 1)])
    }
    await complete(worker, claim)
    const whole = await watch(hive, ada, job.id)
    await whole.ended
    assert.equal(whole.events.length, 3 + 1 + 5 + 10 + 2)
    for (const [i, { id }] of whole.events.entries()) {
      const reader = await watch(hive, ada, job.id, id)
      await reader.ended
      const rest = whole.events.slice(i + 1)
      // Whoever has seen the end and asks again is told of the end again.
      assert.deepEqual(reader.events, rest.length > 0 ? rest : whole.events.slice(-1))
    }
    for (const odd of ['', 'x', '-1.-1', '1', '99999999999999999999.0', '1.2.3']) {
      const reader = await watch(hive, ada, job.id, odd)
      await reader.ended
      assert.equal(reader.events.length, whole.events.length, odd)
    }
  })

  test('a reader interrupted at any moment misses nothing and sees nothing twice', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const claim = await take(worker)
    const seen: ServerEvent[] = []
    for (let i = 0; i < 8; i++) {
      const reader = await watch(hive, ada, job.id, seen.at(-1)?.id)
      await Promise.all([log(worker, claim, [line(i)]), progress(worker, claim, { phase: 'run', progress: i })])
      await reader.until(({ event }) => event === (i % 2 ? 'log' : 'progress'))
      reader.hangUp()
      await reader.ended
      seen.push(...reader.events)
    }
    await complete(worker, claim)
    const last = await watch(hive, ada, job.id, seen.at(-1)?.id)
    await last.ended
    seen.push(...last.events)
    const logs = seen.filter(({ event }) => event === 'log').map(({ data }) => data.seq)
    assert.deepEqual(logs, [0, 1, 2, 3, 4, 5, 6, 7])
    const steps = seen.filter(({ event }) => event === 'progress').map(({ data }) => data.progress)
    assert.deepEqual(steps, [0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('more events than one look reads all arrive, also for a reader that pauses', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const claim = await take(worker)
    const reader = await watch(hive, ada, job.id)
    reader.response.pause()
    const text = 'x'.repeat(16_000)
    for (let i = 0; i < 5; i++) {
      const chunks = Array.from({ length: 120 }, (_, n) => ({ ...line(120 * i + n), text }))
      assert.equal((await log(worker, claim, chunks)).status, 200)
    }
    await complete(worker, claim)
    reader.response.resume()
    await reader.ended
    const seqs = reader.events.filter(({ event }) => event === 'log').map(({ data }) => data.seq)
    assert.deepEqual(
      seqs,
      Array.from({ length: 600 }, (_, i) => i),
    )
    assert.equal(reader.events.at(-1)?.event, 'end')
  })

  test('readers that hang up while much is written do not harm the server', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const claim = await take(worker)
    for (let round = 0; round < 10; round++) {
      const readers = await Promise.all(Array.from({ length: 3 }, () => watch(hive, ada, job.id)))
      const text = 'x'.repeat(16_000)
      const writing = log(
        worker,
        claim,
        Array.from({ length: 50 }, (_, n) => ({ ...line(50 * round + n), text })),
      )
      for (const reader of readers) reader.hangUp()
      await Promise.all([writing, ...readers.map(({ ended }) => ended)])
    }
    assert.equal((await complete(worker, claim)).status, 200)
    assert.deepEqual(
      hive.logged.filter((entry) => entry.includes('stream_failed')),
      [],
    )
  })

  test('a reader that is gone when its events have been read leaves nothing behind', async () => {
    await using hive = await open()
    const { ada, job, worker } = await queued(hive)
    const claim = await take(worker)
    const text = 'x'.repeat(16_000)
    await log(
      worker,
      claim,
      Array.from({ length: 60 }, (_, n) => ({ ...line(n), text })),
    )
    const port = await listen(hive)
    const closed = new Promise<void>((resolve) => {
      hive.app.server.once('connection', (socket) => socket.once('close', () => resolve()))
    })
    const left = Promise.withResolvers<void>()
    const { subscribe } = hive.ctx.bus
    Object.assign(hive.ctx.bus, {
      subscribe: (topic: string, listener: () => void) => {
        const unsubscribe = subscribe(topic, listener)
        return () => {
          unsubscribe()
          if (topic === `job:${job.id}`) left.resolve()
        }
      },
    })
    // Holds the stream's look at the log until its reader is gone: the log is read after everything else.
    const { selectFrom } = hive.ctx.db.kysely
    const looking = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    Object.assign(hive.ctx.db.kysely, {
      selectFrom: (table: 'jobLogs') => {
        const query = selectFrom.call(hive.ctx.db.kysely, table)
        if (table !== 'jobLogs') return query
        return holding(query, looking.resolve, go.promise)
      },
    })
    const reader = await watch(hive, ada, job.id)
    assert.ok(port > 0)
    await looking.promise
    reader.hangUp()
    await closed
    go.resolve()
    await left.promise
    Object.assign(hive.ctx.db.kysely, { selectFrom })
    assert.equal((await complete(worker, claim)).status, 200)
  })

  test('the stream ends when the session ends, and when the reader is taken out of the project', async () => {
    await using hive = await open()
    const { ada, projectId, job } = await queued(hive)
    const bob = await hive.person('bob')
    const body = { username: 'bob', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params: { projectId }, body })
    const [own, bobs] = [await watch(hive, ada, job.id), await watch(hive, bob, job.id)]
    await Promise.all([own.until(isState('queued')), bobs.until(isState('queued'))])
    const params = { projectId, userId: bob.userId }
    await hive.call(projects.removeProjectMember, { token: ada.token, params })
    await bobs.ended
    assert.equal(bobs.events.length, 1)
    await hive.call(sessions.logOut, { token: ada.token })
    await own.ended
    assert.equal(own.events.at(-1)?.event, 'state')
  })

  test('the stream of an admin ends when the admin is none any more', async () => {
    await using hive = await open()
    const { job, ada } = await queued(hive)
    const admin = await hive.admin()
    const reader = await watch(hive, admin, job.id)
    await reader.until(isState('queued'))
    await hive.ctx.db.kysely.updateTable('users').set({ adminSince: null }).where('id', '=', admin.userId).execute()
    hive.ctx.bus.publish('identity')
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    await reader.ended
    assert.deepEqual(
      reader.events.map(({ event, data }) => [event, data.state]),
      [['state', 'queued']],
    )
  })

  test('a person holds a bounded number of streams open, through keys too, and a closed one makes room', async () => {
    await using hive = await open()
    const { ada, job } = await queued(hive)
    const scopes = ['jobs:read' as const]
    const key = (await hive.call(keys.createApiKey, { token: ada.token, body: { name: 'ci', scopes } })).body.apiKey
    const readers = await Promise.all(Array.from({ length: maxStreams }, () => watch(hive, ada, job.id)))
    for (const reader of readers) assert.equal(reader.response.statusCode, 200)
    const refused = await hive.call(contract.watchJob, { token: key, params: { jobId: job.id } })
    assert.deepEqual([refused.status, refused.problem.code], [429, 'rate_limited'])
    assert.ok(Number(refused.headers['retry-after']) > 0)
    const eve = await hive.person('eve')
    assert.equal(
      (await hive.call(contract.watchJob, { token: eve.token, params: { jobId: job.id } })).problem.code,
      'job_not_found',
    )
    await hive.call(contract.cancelJob, { token: ada.token, params: { jobId: job.id } })
    await Promise.all(readers.map((reader) => reader.ended))
    assert.equal((await hive.call(contract.watchJob, { token: key, params: { jobId: job.id } })).status, 200)
  })

  test('the stream ends when the access token expires', async () => {
    await using hive = await open()
    const { ada, job } = await queued(hive)
    const reader = await watch(hive, ada, job.id)
    await reader.until(isState('queued'))
    hive.clock.advance(hive.ctx.config.accessTokenSeconds * 1000 + 1)
    hive.ctx.bus.publish('identity')
    await reader.ended
  })

  test('the server stops while streams are open', async () => {
    const hive = await open()
    const { ada, job } = await queued(hive)
    const reader = await watch(hive, ada, job.id)
    await reader.until(isState('queued'))
    await hive[Symbol.asyncDispose]()
    await reader.ended
  })

  test('nobody, and nobody else, may watch', async () => {
    await using hive = await open()
    const { job } = await queued(hive)
    const eve: Person = await hive.person('eve')
    const foreign = await hive.call(contract.watchJob, { token: eve.token, params: { jobId: job.id } })
    assert.equal(foreign.problem.code, 'job_not_found')
    assert.equal((await hive.call(contract.watchJob, { params: { jobId: job.id } })).status, 401)
  })
})

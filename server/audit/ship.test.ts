import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { sendAndClose } from '../platform/net/send-and-close.ts'
import { countLeaves, findLastCheckpoint } from './queries.ts'
import { shipAudit } from './ship.ts'
import type { ShippedItem, Sink } from './sink.ts'
import { fileSink } from './sink-file.ts'
import { syslogSink } from './sink-syslog.ts'
import { record } from './test-log.ts'

interface Line {
  seq?: number
  checkpoint?: string
}

/** A receiver of octet-counted frames that can die, with what it has read, and come back at its address. */
class Receiver {
  readonly messages: string[] = []
  #server: Server | undefined
  readonly #sockets = new Set<Socket>()
  port = 0
  /** Dies after so many bytes of a connection. */
  diesAfter = Number.POSITIVE_INFINITY

  async start(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#receive(socket))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve))
    const address = server.address()
    this.port = typeof address === 'object' && address !== null ? address.port : 0
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) socket.resetAndDestroy()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  #receive(socket: Socket): void {
    this.#sockets.add(socket)
    let bytes = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      if (bytes.length > this.diesAfter) return socket.resetAndDestroy()
    })
    socket.on('end', () => {
      this.messages.push(...unframe(bytes))
      socket.end()
    })
  }
}

function unframe(bytes: Buffer): string[] {
  const messages: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const length = Number(bytes.toString('latin1', at, space))
    messages.push(bytes.toString('utf8', space + 1, space + 1 + length))
    at = space + 1 + length
  }
  return messages
}

const seqsOf = (lines: readonly Line[]) => lines.flatMap(({ seq }) => (seq === undefined ? [] : [seq]))
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const parse = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
/** As after a restart: what the process knew of the sink is gone, and so is its name in the lease. */
const restarted = (hive: Hive) => ({ ...hive.ctx })

describeHive('shipping the audit log', (open, { dialect }) => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hivesync-ship-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('into a file: everything in order, each checkpoint behind its last leaf, for its owner alone', async () => {
    await using hive = await open()
    const path = join(folder, 'a.jsonl')
    const create = () => fileSink({ path })
    await record(hive, 700)
    await shipAudit(hive.ctx, create)
    await record(hive, 5)
    await shipAudit(hive.ctx, create)
    await shipAudit(hive.ctx, create)
    const lines = parse(await readFile(path, 'utf8'))
    assert.deepEqual(seqsOf(lines), upTo(706))
    const places = lines.flatMap(({ checkpoint }, index) => {
      const before = lines[index - 1]?.seq
      return checkpoint === undefined ? [] : [[Number(checkpoint.split('\n')[1]), (before ?? -1) + 1]]
    })
    assert.deepEqual(places, [
      [700, 700],
      [706, 706],
    ])
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    const last = await findLastCheckpoint(hive.ctx.db.kysely)
    assert.equal(lines.at(-1)?.checkpoint, last?.note)
  })

  test('a file that is full goes on under another name, and half a line of a crash spoils no other', async () => {
    await using hive = await open()
    const path = join(folder, 'b.jsonl')
    await writeFile(path, '{"seq":', { mode: 0o600 })
    await record(hive, 1200)
    await shipAudit(hive.ctx, () => fileSink({ path }, 100_000))
    const names = (await readdir(folder)).filter((name) => name.startsWith('b.jsonl'))
    assert.ok(names.length > 1, names.join())
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
    const lines = texts
      .join('')
      .split('\n')
      .filter((line) => line !== '' && line !== '{"seq":')
    assert.deepEqual(
      seqsOf(lines.map((line) => JSON.parse(line))).sort((a, b) => a - b),
      upTo(1200),
    )
  })

  test('through a link that somebody has put in the place of the file: never', async () => {
    await using hive = await open()
    const [path, target] = [join(folder, 'c.jsonl'), join(folder, 'target')]
    await writeFile(target, '')
    await symlink(target, path)
    await record(hive, 3)
    await shipAudit(hive.ctx, () => fileSink({ path }))
    assert.equal(await readFile(target, 'utf8'), '')
    assert.ok(hive.logged.some((line) => line.includes('audit_sink_failed')))
  })

  test('to syslog: a receiver that dies in the middle and comes back has everything, in order', async () => {
    await using hive = await open()
    const receiver = new Receiver()
    await receiver.start()
    const create = () => syslogSink({ host: '127.0.0.1', port: receiver.port, isTls: false }, 'hive.example')
    try {
      await record(hive, 600)
      // It reads a part, and dies with it.
      receiver.diesAfter = 50_000
      await shipAudit(hive.ctx, create)
      assert.equal(receiver.messages.length, 0)
      await receiver.stop()
      hive.clock.advance(60_000)
      await shipAudit(hive.ctx, create)
      await record(hive, 10)
      receiver.diesAfter = Number.POSITIVE_INFINITY
      await receiver.start()
      hive.clock.advance(60_000)
      await shipAudit(hive.ctx, create)
      const lines = receiver.messages.map((message) => JSON.parse(message.slice(message.indexOf('{'))) as Line)
      assert.deepEqual(seqsOf(lines), upTo(await countLeaves(hive.ctx.db.kysely)))
      assert.match(
        receiver.messages[0] ?? '',
        /^<110>1 \d{4}-\d\d-\d\dT[\d:.]{12}Z hive\.example hivesync - audit-leaf - \{/,
      )
      assert.equal(hive.logged.filter((line) => line.includes('audit_sink_failed')).length, 2)
      assert.ok(hive.logged.some((line) => line.includes('audit_sink_back')))
    } finally {
      await receiver.stop()
    }
  })

  test('a sink that is away is tried ever more rarely, and costs nothing between', async () => {
    await using hive = await open()
    let tries = 0
    const create = (): Sink => ({
      name: 'away',
      deliver: async () => {
        tries++
        throw new Error('nobody there')
      },
    })
    await record(hive, 3)
    for (let second = 0; second < 120; second++) {
      await shipAudit(hive.ctx, create)
      hive.clock.advance(1000)
    }
    assert.deepEqual(tries, 8)
  })

  test('what was delivered before a crash comes again at most, and nothing is left out', async () => {
    await using hive = await open()
    const delivered: number[] = []
    let crashes = 3
    const create = (): Sink => ({
      name: 'crashing',
      deliver: async (items: readonly ShippedItem[]) => {
        delivered.push(...items.flatMap(({ kind, seq }) => (kind === 'leaf' ? [seq] : [])))
        // Killed before it could write down how far it got.
        if (crashes-- > 0) throw new Error('killed')
      },
    })
    await record(hive, 1100)
    for (let run = 0; run < 5; run++) {
      await shipAudit(restarted(hive), create)
      hive.clock.advance(120_000)
    }
    assert.deepEqual([...new Set(delivered)], upTo(1100))
    for (let index = 1; index < delivered.length; index++)
      assert.ok((delivered[index] ?? 0) <= (delivered[index - 1] ?? 0) + 1, 'no gap')
  })

  test('one replica delivers at a time, and another goes on when it has died', async () => {
    // Of a SQLite file there is one process, and the next goes on at once.
    if (dialect === 'sqlite') return
    await using hive = await open()
    const seen: string[] = []
    const create = (name: string) => (): Sink => ({ name: 'shared', deliver: async () => void seen.push(name) })
    const [first, second] = [restarted(hive), restarted(hive)]
    await record(hive, 3)
    await shipAudit(first, create('first'))
    await record(hive, 3)
    await shipAudit(second, create('second'))
    assert.deepEqual(seen, ['first'])
    hive.clock.advance(120_000)
    await shipAudit(second, create('second'))
    assert.deepEqual(seen, ['first', 'second'])
  })

  test('a connection that breaks is no delivery, and neither is one that is never closed', async () => {
    const receiver = new Receiver()
    await receiver.start()
    const peer = { host: '127.0.0.1', port: receiver.port, isTls: false }
    await sendAndClose(peer, Buffer.from('3 abc'), 10_000)
    assert.deepEqual(receiver.messages, ['abc'])
    receiver.diesAfter = 0
    await assert.rejects(sendAndClose(peer, Buffer.from('3 abc'), 10_000))
    await receiver.stop()
    await assert.rejects(sendAndClose(peer, Buffer.from('3 abc'), 10_000), { code: 'ECONNREFUSED' })
    const held: Socket[] = []
    const silent = createServer({ allowHalfOpen: true }, (socket) => void held.push(socket.resume()))
    await new Promise<void>((resolve) => silent.listen(receiver.port, '127.0.0.1', resolve))
    await assert.rejects(sendAndClose(peer, Buffer.from('x'), 50), /has not closed in time/)
    for (const socket of held) socket.destroy()
    await new Promise((resolve) => silent.close(resolve))
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import type { LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import fc from 'fast-check'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, log, submitted, take } from '../../test/harness/jobs.ts'
import { policy } from './policy.ts'

const chunk = (seq: number, text = `line ${seq}\n`): LogChunk => ({ seq, stream: 'stdout', at: 1000, text })

async function running(hive: Hive, maxAttempts = 1) {
  const ada = await hive.person('ada')
  const job = await submitted(hive, ada, await hive.project(ada), { maxAttempts })
  const worker = await hive.worker()
  const read = async (query: { after?: string; limit?: string } = {}) =>
    (await hive.call(contract.readLog, { token: ada.token, params: { jobId: job.id }, query })).body
  return { job, worker, claim: await take(worker), read }
}

describeHive('the log of a job', (open) => {
  test('chunks are stored once and in order, however they arrive; a gap is asked for again', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive)
    const send = async (...seqs: number[]) =>
      (
        await log(
          worker,
          claim,
          seqs.map((seq) => chunk(seq)),
        )
      ).body.nextSeq
    assert.equal(await send(0, 1), 2)
    assert.equal(await send(0, 1), 2)
    assert.equal(await send(1, 2), 3)
    assert.equal(await send(4, 5), 3)
    assert.equal(await send(3, 5), 4)
    assert.equal(await send(4, 5), 6)
    const { items, nextSeq } = await read()
    assert.deepEqual(
      items.map(({ seq, text }) => [seq, text]),
      [0, 1, 2, 3, 4, 5].map((seq) => [seq, `line ${seq}\n`]),
    )
    assert.equal(nextSeq, 6)
    assert.deepEqual(
      (await read({ after: '1', limit: '2' })).items.map(({ seq }) => seq),
      [2, 3],
    )
    assert.deepEqual(await read({ after: '5' }), { items: [], nextSeq: 6 })
  })

  test('whatever is sent twice, late or at once, every line is there exactly once', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive)
    let base = 0
    const slice = fc.record({ from: fc.nat(20), count: fc.integer({ min: 1, max: 8 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(slice, { minLength: 1, maxLength: 6 }), async (slices) => {
        await Promise.all(
          slices.map(({ from, count }) =>
            log(
              worker,
              claim,
              Array.from({ length: count }, (_, i) => chunk(base + from + i)),
            ),
          ),
        )
        const all = await log(
          worker,
          claim,
          Array.from({ length: 28 }, (_, i) => chunk(base + i)),
        )
        const rest = all.body.nextSeq
        assert.ok(rest >= base + 28)
        base = rest
        const { items } = await read({ after: String(Math.max(0, base - 29)), limit: '200' })
        for (const { seq, text } of items) assert.equal(text, `line ${seq}\n`)
      }),
      { numRuns: 12 },
    )
  })

  test('each attempt counts its own chunks; the reader sees one growing log with the attempt of each line', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive, 2)
    await log(worker, claim, [chunk(0, 'first\n')])
    await complete(worker, claim, { outcome: 'failed' })
    hive.clock.advance(10_000)
    await log(worker, await take(worker), [chunk(0, 'second\n'), chunk(1, 'third\n')])
    assert.deepEqual(
      (await read()).items.map(({ seq, attempt, text }) => [seq, attempt, text]),
      [
        [0, 1, 'first\n'],
        [1, 2, 'second\n'],
        [2, 2, 'third\n'],
      ],
    )
  })

  test('what no database or calendar holds does not make the log unreadable', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive)
    const odd: LogChunk[] = [
      { ...chunk(0, 'nul \0 end'), at: 0 },
      { ...chunk(1, 'lone \ud800 surrogate'), at: Number.MAX_SAFE_INTEGER - 1 },
      { ...chunk(2, '\u001b[31mred'), at: Number.MAX_SAFE_INTEGER, stream: 'stderr' },
    ]
    assert.equal((await log(worker, claim, odd)).body.nextSeq, 3)
    const { items } = await read()
    assert.equal(items.length, 3)
    assert.equal(items[0]?.text, 'nul \ufffd end')
    assert.ok(Date.parse(items[1]?.at ?? '') <= hive.clock.now() + 86_400_000)
  })

  test('beyond the cap one line says that the log was cut, and nothing more is stored', async () => {
    await using hive = await open()
    const { job, worker, claim, read } = await running(hive)
    const left = policy.maxLogBytes - 20
    await hive.ctx.db.kysely.updateTable('jobs').set({ logBytes: left }).where('id', '=', job.id).execute()
    const texts = ['0123456789', '0123456789', 'x', 'y']
    const reply = await log(
      worker,
      claim,
      texts.map((text, seq) => chunk(seq, text)),
    )
    assert.deepEqual(reply.body, { nextSeq: 3, truncated: true })
    const again = await log(worker, claim, [chunk(3, 'y')])
    assert.equal(again.body.truncated, true)
    const { items } = await read()
    assert.deepEqual(
      items.map(({ stream }) => stream),
      ['stdout', 'stdout', 'system'],
    )
    assert.match(items[2]?.text ?? '', /not kept/)
    assert.deepEqual(
      items.map(({ truncated }) => truncated),
      [undefined, undefined, true],
    )
  })

  test('pieces are counted too, for an empty one has no bytes: the log is cut where they are too many', async () => {
    await using hive = await open()
    const { job, worker, claim, read } = await running(hive)
    await hive.ctx.db.kysely
      .updateTable('jobs')
      .set({ logSeq: policy.maxLogChunks - 2 })
      .where('id', '=', job.id)
      .execute()
    const reply = await log(worker, claim, [chunk(0, ''), chunk(1, ''), chunk(2, '')])
    assert.deepEqual(reply.body, { nextSeq: 2, truncated: true })
    assert.equal((await log(worker, claim, [chunk(2, '')])).body.truncated, true)
    const { items } = await read()
    assert.deepEqual(
      items.map(({ stream }) => stream),
      ['stdout', 'system'],
    )
  })

  /** A chunk of standard output that stands for these bytes; without text, a gap. */
  const place = (seq: number, startByte: number, endByte: number, text = 'x'): LogChunk => ({
    ...chunk(seq, text),
    ...{ startByte, endByte },
  })

  test('output that was dropped is an item of its own, never joined, and reading can begin after it', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive)
    const error: LogChunk = { ...place(2, 0, 3), stream: 'stderr' }
    await log(worker, claim, [place(0, 0, 7, 'one [redacted]\n'), place(1, 7, 1007, ''), error])
    await log(worker, claim, [place(3, 1007, 1009, 'b\n'), chunk(4, '')])
    const { items } = await read()
    assert.deepEqual(
      items.map(({ seq, stream, text, startByte, gap }) => [seq, stream, text, startByte, gap?.bytes]),
      [
        [0, 'stdout', 'one [redacted]\n', 0, undefined],
        [1, 'stdout', '', 7, 1000],
        [2, 'stderr', 'x', 0, undefined],
        [3, 'stdout', 'b\n', 1007, undefined],
        [4, 'stdout', '', undefined, undefined],
      ],
    )
    assert.deepEqual((await read({ after: '1' })).items, items.slice(2))
  })

  test('a worker that says a place twice, passes one over, turns back or runs away is refused, and nothing of it is stored', async () => {
    await using hive = await open()
    const { worker, claim, read } = await running(hive)
    await log(worker, claim, [place(0, 0, 10)])
    const hostile: LogChunk[][] = [
      [place(1, 0, 10)],
      [place(1, 9, 12)],
      [place(1, 11, 12)],
      [place(1, 10, 9)],
      [place(1, 10, 1e300, '')],
      [place(1, 10, 12), place(2, 11, 13)],
      [{ ...place(1, 10, 12), stream: 'system' }],
      [{ ...chunk(1), startByte: 10 }],
      [{ ...chunk(1), endByte: 12 }],
    ]
    for (const chunks of hostile) {
      const reply = await log(worker, claim, chunks)
      assert.equal(reply.status === 400 && reply.problem.code, 'invalid_request', JSON.stringify(chunks))
    }
    assert.equal((await read()).items.length, 1)
    assert.equal((await log(worker, claim, [place(0, 0, 10), place(1, 10, 12)])).body.nextSeq, 2)
  })

  test('each attempt begins its output anew', async () => {
    await using hive = await open()
    const { worker, claim } = await running(hive, 2)
    await log(worker, claim, [place(0, 0, 10)])
    await complete(worker, claim, { outcome: 'failed' })
    hive.clock.advance(10_000)
    assert.equal((await log(worker, await take(worker), [place(0, 0, 5)])).status, 200)
  })

  test('bytes are counted, not characters', async () => {
    await using hive = await open()
    const { job, worker, claim } = await running(hive)
    await log(worker, claim, [chunk(0, '🐝ü')])
    const row = await hive.ctx.db.kysely.selectFrom('jobs').select('logBytes').where('id', '=', job.id).execute()
    assert.deepEqual(row, [{ logBytes: 6 }])
  })

  test("another team's log does not exist", async () => {
    await using hive = await open()
    const { job } = await running(hive)
    const { token } = await hive.person('eve')
    const reply = await hive.call(contract.readLog, { token, params: { jobId: job.id } })
    assert.equal(reply.problem.code, 'job_not_found')
  })
})

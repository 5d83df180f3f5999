import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { findDrift } from '../../test/harness/jobs.ts'
import { importPharosToken } from '../keys/keys.ts'
import { importQueue } from './import-queue.ts'

const url = (name: string) => `https://example.net/${name}.git`

async function importText(hive: Hive, text: string, project: string | undefined, skipBad = false) {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-queue-'))
  const path = join(folder, 'queue')
  try {
    await writeFile(path, text)
    const { exitCode, json } = await importQueue(hive.ctx, path, { project, skipBad })
    const { queued, expired, known, problems } = json as Record<string, number> & { problems: { line: number }[] }
    return { exitCode, counts: [queued, expired, known], bad: problems.map(({ line }) => line) }
  } finally {
    await rm(folder, { recursive: true })
  }
}
const listed = (hive: Hive) => hive.ctx.db.kysely.selectFrom('jobs').selectAll().orderBy('id').execute()

describeHive('importing the queue of another system', (open) => {
  test('bare addresses and objects, as lines or one array, keep their order, age and time to live', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const now = hive.clock.now()
    const iso = (ago: number) => new Date(now - ago).toISOString()
    const tasks = [
      url('a'),
      { repo_url: url('b'), submitted_at: iso(3_600_000), ttl: 7200 },
      { repository: url('c'), submitted_at: (now - 90_000_000) / 1000 },
      { url: url('d'), ref: 'main' },
    ]
    const lines = await importText(hive, `${tasks.map((task) => JSON.stringify(task)).join('\n')}\r\n\n`, projectId)
    assert.deepEqual(lines, { exitCode: 0, counts: [3, 1, 0], bad: [] })
    const rows = (await listed(hive)).map((row) => [
      JSON.parse(row.input).repository,
      row.state,
      now - row.submittedAt,
      row.ttlSeconds,
      row.skipReason,
    ])
    assert.deepEqual(rows, [
      [url('a'), 'queued', 0, 86_400, null],
      [url('b'), 'queued', 3_600_000, 7200, null],
      [url('c'), 'skipped', 90_000_000, 86_400, 'ttl_expired'],
      [url('d'), 'queued', 0, 86_400, null],
    ])
    const worker = await hive.worker()
    const [claim] = await worker.claim(1)
    assert.deepEqual(claim?.input, { repository: url('b') }, 'the oldest first, and with rights')
    const again = await importText(hive, `${tasks.map((task) => JSON.stringify(task)).join('\n')}\r\n\n`, projectId)
    assert.deepEqual(again.counts, [0, 0, 4], 'the same file imports nothing twice')
    assert.deepEqual((await importText(hive, JSON.stringify([url('a'), url('a')]), projectId)).counts, [2, 0, 0])
    assert.deepEqual(await findDrift(hive), [])
  })

  test('one bad task stops all of it, named by its line, unless it is to be left out', async () => {
    await using hive = await open()
    const projectId = await hive.project(await hive.person('ada'))
    const bad = [
      '{"repo_url":',
      '"--upload-pack=x"',
      '"https://127.0.0.1/a"',
      '{"repo_url":"https://example.net/a","url":"https://example.net/b"}',
      '{}',
      '7',
      '{"repo_url":"https://example.net/a","x":1}',
      '{"repo_url":"https://example.net/a","ttl":0}',
      '{"repo_url":"https://example.net/a","submitted_at":"2999-01-01T00:00:00Z"}',
      '{"repo_url":"https://example.net/a","repo_url":"https://example.net/b"}',
    ]
    const text = [JSON.stringify(url('a')), ...bad, JSON.stringify(url('b'))].join('\n')
    const refused = await importText(hive, text, projectId)
    assert.deepEqual([refused.exitCode, refused.counts], [1, [0, 0, 0]])
    assert.deepEqual(
      refused.bad,
      bad.map((_, index) => index + 2),
    )
    assert.deepEqual(await listed(hive), [])
    const taken = await importText(hive, text, projectId, true)
    assert.deepEqual([taken.exitCode, taken.counts, taken.bad.length], [0, [2, 0, 0], bad.length])
  })

  test('more than the cap may come, and nothing new until they have drained; two imports at once import once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const text = JSON.stringify(Array.from({ length: 60 }, (_, index) => url(`r${index}`)))
    const both = await Promise.all([importText(hive, text, projectId), importText(hive, text, projectId)])
    assert.equal(
      both.reduce((sum, { counts }) => sum + (counts[0] ?? 0), 0),
      60,
    )
    assert.equal((await listed(hive)).length, 60)
    const job = { kind: 'ingest', input: { repository: url('more') } }
    const reply = await hive.inject({
      method: 'POST',
      url: `/api/v1/projects/${projectId}/jobs`,
      headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json' },
      payload: JSON.stringify(job),
    })
    assert.equal(reply.statusCode, 429)
    assert.deepEqual(await findDrift(hive), [])
  })

  test('into the project of PHAROS_ADMIN_TOKEN it comes with the operator’s key; into none that is not there', async () => {
    await using hive = await open({ config: { pharosToken: 'a-pharos-token-of-more-than-32-characters' } })
    await hive.admin()
    await importPharosToken(hive.ctx)
    const { id } = await hive.ctx.db.kysely.selectFrom('projects').select('id').executeTakeFirstOrThrow()
    assert.deepEqual((await importText(hive, JSON.stringify(url('a')), id)).counts, [1, 0, 0])
    assert.equal((await (await hive.worker()).claim(1)).length, 1)
    for (const project of [undefined, 'honeycomb', hive.ctx.random.id()])
      await assert.rejects(importText(hive, JSON.stringify(url('a')), project), { name: 'CommandRefused' })
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const body = { archived: true }
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body })
    await assert.rejects(importText(hive, JSON.stringify(url('a')), projectId), { name: 'CommandRefused' })
  })
})

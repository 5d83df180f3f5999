import assert from 'node:assert/strict'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as contract from '@hivesync/contracts/search.ts'
import { sql } from 'kysely'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { publishMirror } from '../mirrors/mirrors.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { listIndexes } from './postgres-indexes.ts'
import { closeIndexes, dropIndex, prepareIndex, receiveFiles, sweepIndexes } from './search.ts'
import { listFiles } from './sqlite-indexes.ts'

const fileOf = (path: string, text = 'needle') => ({ path, text, language: null })

async function publish(hive: Hive, projectId: string, token: number): Promise<void> {
  const totals = await prepareIndex(hive.ctx, { projectId, token })
  const publication = { projectId, token, repository: 'r', commit: 'c', branch: null, ...totals }
  await hive.ctx.db.transaction((tx) => publishMirror(hive.ctx, tx, system, publication))
}

async function tokensOf(ctx: Context): Promise<number[]> {
  const names = await (ctx.db.dialect === 'postgres' ? listIndexes(ctx.db.kysely) : listFiles(ctx))
  return names.map(({ token }) => token).toSorted((a, b) => a - b)
}

const openFiles = () => {
  const links = readdirSync('/proc/self/fd').map((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`)
    } catch {
      return '' // the descriptor of the listing itself is gone by now
    }
  })
  return links.filter((link) => link.includes('/search/'))
}

describeHive('search indexes', (open, { dialect }) => {
  test('a batch sent again is stored once, and a batch after the handing in is refused', async () => {
    await using hive = await open()
    const projectId = await hive.project(await hive.person('ada'))
    const send = (batch: number, path: string) =>
      receiveFiles(hive.ctx, { projectId, token: 1, batch, files: [fileOf(path), fileOf(`${path}2`, 'é')] })
    await Promise.all([send(0, 'a'), send(0, 'a'), send(7, 'b')])
    await send(7, 'b')
    assert.deepEqual(await prepareIndex(hive.ctx, { projectId, token: 1 }), { files: 4, bytes: 16 })
    assert.deepEqual(await prepareIndex(hive.ctx, { projectId, token: 1 }), { files: 4, bytes: 16 })
    await publish(hive, projectId, 1)
    await assert.rejects(send(8, 'c'), { code: 'lease_lost' })
  })

  test('more than 200,000 files, or 512 MiB of text, are refused and nothing of the batch is stored', async () => {
    await using hive = await open()
    const projectId = await hive.project(await hive.person('ada'))
    const send = (token: number, batch: number, files: { path: string; text: string; language: null }[]) =>
      receiveFiles(hive.ctx, { projectId, token, batch, files })
    await assert.rejects(send(1, 0, Array(5001).fill(fileOf('a'))), { code: 'payload_too_large' })
    await assert.rejects(send(1, 200_000, [fileOf('a')]), { code: 'payload_too_large' })
    await send(1, 0, [fileOf('a')])
    await send(2, 0, [fileOf('a')])
    await fill(hive, projectId)
    await send(1, 1, [fileOf('last')])
    await assert.rejects(send(1, 2, [fileOf('one more')]), { code: 'payload_too_large' })
    await assert.rejects(send(2, 2, [fileOf('b', 'x'.repeat(1024 * 1024))]), { code: 'payload_too_large' })
    assert.equal((await prepareIndex(hive.ctx, { projectId, token: 1 })).files, 200_000)
  })

  // As if much had arrived before: 199,998 files more under token 1, 512 MiB less half a MiB under token 2.
  async function fill(hive: Hive, projectId: string): Promise<void> {
    const bytes = 512 * 1024 * 1024 - 512 * 1024
    if (dialect === 'postgres') {
      await sql`insert into search_files (project_id, token, id, path, text, folded)
        select ${projectId}, 1, 1000000 + n, 'p', '', '' from generate_series(1, 199998) as n`.execute(
        hive.ctx.db.kysely,
      )
      await sql`insert into search_files (project_id, token, id, path, text, folded)
        select ${projectId}, 2, 1000000 + n, 'p', repeat('x', ${bytes / 4}), '' from generate_series(1, 4) as n`.execute(
        hive.ctx.db.kysely,
      )
      return
    }
    for (const [token, files, size] of [
      [1, 199_998, 0],
      [2, 1, bytes],
    ] as const) {
      const file = new DatabaseSync(join(hive.ctx.config.dataDir, 'search', projectId, `${token}.db`))
      file.prepare('insert into batches (batch, files, bytes) values (?, ?, ?)').run(100, files, size)
      file.close()
    }
  }

  test('the sweep removes what is neither served nor leased, and nothing else', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const input = { repository: 'https://example.net/a.git' }
    const body = { kind: 'ingest' as const, input }
    const submitted = await hive.call(jobs.submitJob, { token: ada.token, params: { projectId }, body })
    assert.equal(submitted.status, 201)
    const worker = await hive.worker()
    const [claim] = await worker.claim(1, 30)
    assert.ok(claim)
    const [served, orphan] = [claim.token + 1, claim.token + 2]
    for (const token of [claim.token, served, orphan])
      await receiveFiles(hive.ctx, { projectId, token, batch: 0, files: [fileOf('a')] })
    await publish(hive, projectId, served)
    assert.equal(await sweepIndexes(hive.ctx), 1)
    assert.deepEqual(await tokensOf(hive.ctx), [claim.token, served])
    assert.equal(await sweepIndexes(hive.ctx), 0)
    const { body: page } = await hive.call(contract.searchCode, { token: ada.token, query: { q: 'needle' } })
    assert.equal(page.items.length, 1)
  })

  test('an index dropped twice, or never built, is no error', async () => {
    await using hive = await open()
    const projectId = await hive.project(await hive.person('ada'))
    await receiveFiles(hive.ctx, { projectId, token: 1, batch: 0, files: [fileOf('a')] })
    await dropIndex(hive.ctx, projectId, 1)
    await dropIndex(hive.ctx, projectId, 1)
    assert.deepEqual(await tokensOf(hive.ctx), [])
    assert.equal(await sweepIndexes(hive.ctx), 0)
  })

  test('no handle of a dropped index stays open, and none at all after the close', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const find = () => hive.call(contract.searchCode, { token: ada.token, query: { q: 'needle' } })
    for (const token of [1, 2]) {
      await receiveFiles(hive.ctx, { projectId, token, batch: 0, files: [fileOf('a')] })
      await publish(hive, projectId, token)
      await Promise.all([find(), find(), find()])
    }
    await dropIndex(hive.ctx, projectId, 1)
    const isOpen = (token: number) => openFiles().some((path) => path.includes(`${projectId}/${token}.db`))
    assert.equal(isOpen(1), false)
    assert.equal(isOpen(2), dialect === 'sqlite')
    await closeIndexes(hive.ctx)
    assert.equal(isOpen(2), false)
    if (dialect === 'postgres') return
    const workers = process.report?.getReport()
    assert.deepEqual(typeof workers === 'object' && 'workers' in workers ? workers.workers : [], [])
    await assert.rejects(receiveFiles(hive.ctx, { projectId, token: 3, batch: 0, files: [fileOf('a')] }), /closed/)
  })

  test('index files are for their owner only; one that is lost is named to the searcher and in the log', {
    skip: dialect === 'postgres',
  }, async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await receiveFiles(hive.ctx, { projectId, token: 1, batch: 0, files: [fileOf('a')] })
    await publish(hive, projectId, 1)
    const folder = join(hive.ctx.config.dataDir, 'search', projectId)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(statSync(join(folder, '1.db')).mode & 0o777, 0o600)
    await rm(folder, { recursive: true })
    const reply = await hive.call(contract.searchCode, { token: ada.token, query: { q: 'needle' } })
    assert.equal(reply.problem.code, 'not_ready')
    assert.match(reply.problem.detail ?? '', new RegExp(projectId))
    assert.ok(hive.logged.some((line) => line.includes('search_index_missing')))
  })
})

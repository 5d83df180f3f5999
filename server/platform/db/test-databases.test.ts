import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { type Database, openDatabase } from './db.ts'
import { onEachDatabase } from './test-databases.ts'

const urls: string[] = []

describe('databases of tests', () => {
  onEachDatabase((open, { dialect, createUrl }) => {
    let one: Database
    let two: Database
    before(async () => {
      ;[one, two] = await Promise.all([open(), open()])
    })

    test('are migrated and apart from each other', async () => {
      await one.runScript('create table only_here (id bigint)')
      await sql`select count(*) from users`.execute(two.kysely)
      await assert.rejects(sql`select * from only_here`.execute(two.kysely))
    })

    test('keep what they hold when they are opened again by their URL', async () => {
      const url = await createUrl()
      urls.push(url)
      const first = await openDatabase(url)
      assert.equal(first.dialect, dialect)
      await first.runScript('create table only_here (id bigint)')
      await first.close()
      const second = await openDatabase(url)
      await sql`select * from only_here`.execute(second.kysely)
      await second.close()
    })
  })

  after(async () => {
    for (const url of urls) {
      if (url.startsWith('sqlite:')) await assert.rejects(stat(url.slice('sqlite:'.length)), { code: 'ENOENT' })
      else await requireGone(url)
    }
  })
})

async function requireGone(url: string): Promise<void> {
  const database = await openDatabase(url)
  await assert.rejects(database.ping(), { code: '3D000' }) // invalid_catalog_name
  await database.close()
}

async function runWithoutPostgres(env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  const script = `
    import { test } from 'node:test'
    import { onEachDatabase } from ${JSON.stringify(import.meta.resolve('./test-databases.ts'))}
    onEachDatabase((open) => test('opens', async () => (await open()).ping()))`
  const child = spawn(process.execPath, ['--test-reporter=tap', '--input-type=module', '--eval', script], {
    // Nothing answers at port 1 (tcpmux).
    env: { PATH: process.env.PATH, HIVESYNC_TEST_DATABASE_URL: 'postgres://postgres@127.0.0.1:1/postgres', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return { code, output }
}

test('without PostgreSQL its half is skipped by name', async () => {
  const { code, output } = await runWithoutPostgres({})
  assert.equal(code, 0, output)
  assert.match(output, /# Subtest: on postgres\nok \d+ - on postgres # SKIP PostgreSQL does not answer/)
})

test('without PostgreSQL its half fails where services are required', async () => {
  const { code, output } = await runWithoutPostgres({ HIVESYNC_TEST_REQUIRE_SERVICES: '1' })
  assert.equal(code, 1, output)
  assert.match(output, /not ok \d+ - on postgres/)
})

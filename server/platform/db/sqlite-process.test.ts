import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, test } from 'node:test'
import { sql } from 'kysely'
import { DatabaseError, type DatabaseErrorCode } from './database-error.ts'
import { openDatabase } from './db.ts'

let folder: string
let url: string
let child: ChildProcess | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hivesync-process-'))
  url = `sqlite:${join(folder, 'data.db')}`
})

afterEach(async () => {
  await kill()
  rmSync(folder, { recursive: true, force: true })
})

/** A process of its own that has the database open and says when its part is done. */
async function startChild(body: string): Promise<void> {
  const script = `
    import { openDatabase } from ${JSON.stringify(import.meta.resolve('./db.ts'))}
    const database = await openDatabase(${JSON.stringify(url)})
    ${body}
    process.stdout.write('done')
    setInterval(() => {}, 60_000)`
  child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  assert.ok(child.stdout && child.stderr)
  const closed = text(child.stderr).then((complaint) => `exited: ${complaint}`)
  const said = await Promise.race([once(child.stdout, 'data').then(String), closed])
  assert.equal(said, 'done')
}

async function kill(): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

const refusedWith = (code: DatabaseErrorCode) => (error: unknown) =>
  error instanceof DatabaseError && error.code === code

test('what was answered survives kill -9, and what was not is gone', async () => {
  await startChild(`
    await database.runScript('create table probe (id integer primary key, text text not null)')
    await Promise.all(Array.from({ length: 50 }, (_, id) => database.transaction((tx) =>
      tx.insertInto('probe').values({ id, text: 'kept' }).execute())))
    const inside = Promise.withResolvers()
    void database.transaction(async (tx) => {
      await tx.insertInto('probe').values({ id: 1000, text: 'never answered' }).execute()
      inside.resolve()
      await new Promise(() => {})
    })
    await inside.promise`)
  await kill()
  const database = await openDatabase(url)
  try {
    const { rows } = await sql`select count(*) as n, max(id) as last from probe`.execute(database.kysely)
    assert.deepEqual(rows, [{ n: 50, last: 49 }])
  } finally {
    await database.close()
  }
})

test('a second process is refused while the first lives, and served once it was killed -9', async () => {
  await startChild('')
  await assert.rejects(openDatabase(url), refusedWith('database_in_use'))
  await assert.rejects(openDatabase(url), refusedWith('database_in_use'))
  await kill()
  const database = await openDatabase(url)
  await database.ping()
  await database.close()
})

test('a refused second opening in the same process does not loosen the lock of the first', async () => {
  const database = await openDatabase(url)
  try {
    await assert.rejects(openDatabase(url), refusedWith('database_in_use'))
    await assert.rejects(startChild(''), /exited: .*database_in_use/s)
    await database.ping()
  } finally {
    await database.close()
  }
  await (await openDatabase(url)).close()
})

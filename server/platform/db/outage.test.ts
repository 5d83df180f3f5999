import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import pg from 'pg'
import { DatabaseError } from './database-error.ts'
import { isOutage } from './outage.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-outage-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function thrownBy(act: () => unknown): Promise<unknown> {
  try {
    await act()
  } catch (error) {
    return error
  }
  assert.fail('nothing was thrown')
}

test('a file that another process holds, or that cannot be opened, is an outage', async () => {
  const path = join(folder, 'held.db')
  using holder = new DatabaseSync(path)
  holder.exec('create table t (x integer primary key); begin exclusive')
  using other = new DatabaseSync(path, { timeout: 0 })
  assert.equal(isOutage(await thrownBy(() => other.exec('insert into t values (1)'))), true)
  assert.equal(isOutage(await thrownBy(() => new DatabaseSync(join(folder, 'no', 'such', 'folder.db')))), true)
})

test('a full disk is an outage', async () => {
  using full = new DatabaseSync(join(folder, 'full.db'))
  // The same code as when the disk has no room: the file may have so many pages.
  full.exec('pragma max_page_count = 3; create table t (x text)')
  assert.equal(
    isOutage(await thrownBy(() => full.prepare('insert into t values (?)').run('x'.repeat(1_000_000)))),
    true,
  )
})

test('a server that is not there is an outage', async () => {
  const client = new pg.Client({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  assert.equal(isOutage(await thrownBy(() => client.connect())), true)
})

test('what a statement did wrong is none', async () => {
  using database = new DatabaseSync(join(folder, 'own.db'))
  database.exec('create table t (x integer primary key)')
  database.exec('insert into t values (1)')
  for (const text of ['insert into t values (1)', 'select nothing from t', 'syntax'])
    assert.equal(isOutage(await thrownBy(() => database.exec(text))), false, text)
  for (const error of [
    new Error('no'),
    new TypeError('x is undefined'),
    new DatabaseError('parameter_refused', 'a NUL'),
    'text',
    null,
  ])
    assert.equal(isOutage(error), false)
})

test('a shared commit that was lost to an outage is one, and to a fault is none', () => {
  const lost = (cause: unknown) => new DatabaseError('group_rolled_back', 'nothing was kept', { cause })
  assert.equal(isOutage(lost(Object.assign(new Error('disk I/O error'), { errcode: 10 }))), true)
  assert.equal(isOutage(lost(Object.assign(new Error('constraint'), { errcode: 19 }))), false)
})

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { sql } from 'kysely'
import { type Database, type Db, openDatabase } from './db.ts'
import { SqliteStore } from './sqlite-store.ts'

// One group per tick however slow the machine is: what is tested is the grouping, not its time limit.
const patience = { groupBudgetMs: Number.POSITIVE_INFINITY, transactionTimeoutMs: 60_000 }

let folder: string
let database: Database

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hivesync-group-'))
  database = await openDatabase(`sqlite:${join(folder, 'data.db')}`, patience)
  await database.runScript('create table probe (id integer primary key, text text not null unique)')
})

afterEach(async () => {
  await database.close()
  rmSync(folder, { recursive: true, force: true })
})

async function put(db: Db, id: number, text: string): Promise<void> {
  await sql`insert into probe (id, text) values (${id}, ${text})`.execute(db)
}

async function idsOf(db: Db): Promise<number[]> {
  return (await sql<{ id: number }>`select id from probe order by id`.execute(db)).rows.map((row) => row.id)
}

function newStore(): SqliteStore {
  return new SqliteStore(join(folder, 'store.db'), { ...patience, onFault: assert.fail })
}

test('transactions of one tick share a commit, those that come when it is done do not', async () => {
  const store = newStore()
  try {
    store.writer.database.exec('create table probe (id integer primary key)')
    const insert = async (id: number) => {
      const turn = await store.group.enter(() => {})
      store.writer.execute('insert into probe values (?)', [id])
      await turn.end('kept')
    }
    await Promise.all([1, 2, 3, 4, 5].map(insert))
    assert.equal(store.group.groups, 1)
    await insert(6)
    assert.equal(store.group.groups, 2)
  } finally {
    await store.close()
  }
})

test('a transaction that comes a few turns of the event loop later shares the commit that it would wait for', async () => {
  const store = newStore()
  try {
    const take = async () => (await store.group.enter(() => {})).end('kept')
    const first = take()
    for (let turn = 0; turn < 3; turn++) await nextTurn()
    await Promise.all([first, take()])
    assert.equal(store.group.groups, 1)
  } finally {
    await store.close()
  }
})

test('a group that has used its time commits, and those who still wait come in the next', async () => {
  const store = new SqliteStore(join(folder, 'store.db'), { ...patience, groupBudgetMs: -1, onFault: assert.fail })
  try {
    await Promise.all([1, 2, 3].map(async () => (await store.group.enter(() => {})).end('kept')))
    assert.equal(store.group.groups, 3)
  } finally {
    await store.close()
  }
})

test('nobody is answered, and no other connection sees a row, before the shared commit', async () => {
  const store = newStore()
  try {
    store.writer.database.exec('create table probe (id integer primary key)')
    const countSeen = () => store.reader.execute('select id from probe', []).rows.length
    const answered: string[] = []
    const first = await store.group.enter(() => {})
    store.writer.execute('insert into probe values (1)', [])
    const second = store.group.enter(() => {})
    const firstDone = first.end('kept').then(() => answered.push('first'))
    const turn = await second
    store.writer.execute('insert into probe values (2)', [])
    assert.deepEqual([answered, countSeen()], [[], 0])
    await Promise.all([firstDone, turn.end('kept')])
    assert.deepEqual([answered, countSeen()], [['first'], 2])
  } finally {
    await store.close()
  }
})

test('a full disk fails those it must, loses no row that was answered, and is over when there is room again', async () => {
  await database.runScript('pragma max_page_count = 40')
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, id) => database.transaction((tx) => put(tx, id, 'x'.repeat(20_000) + id))),
  )
  const kept = results.flatMap((result, id) => (result.status === 'fulfilled' ? [id] : []))
  const causes = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []))
  assert.ok(
    causes.some((cause) => cause.includes('full')),
    causes[0],
  )
  assert.ok(causes.every((cause) => cause.includes('full') || cause.includes('group_rolled_back')))
  assert.deepEqual(await idsOf(database.kysely), kept)
  await database.runScript('pragma max_page_count = 100000')
  await database.transaction((tx) => put(tx, 100, 'after'))
  assert.deepEqual(await idsOf(database.kysely), [...kept, 100])
})

test('when the engine rolls everything back, the whole group is refused and the next one works', async () => {
  const results = await Promise.allSettled([
    database.transaction((tx) => put(tx, 1, 'innocent')),
    // ON CONFLICT ROLLBACK ends the outermost transaction, as an I/O error or a full disk may.
    database.transaction(async (tx) => {
      await put(tx, 2, 'culprit')
      await sql`insert or rollback into probe (id, text) values (2, 'again')`.execute(tx)
    }),
    database.transaction((tx) => put(tx, 3, 'later in the tick')),
  ])
  const [innocent, culprit, later] = results
  assert.ok(innocent?.status === 'rejected')
  assert.equal(innocent.reason.code, 'group_rolled_back')
  assert.ok(culprit?.status === 'rejected')
  assert.match(String(culprit.reason), /UNIQUE constraint failed/)
  assert.equal(later?.status, 'fulfilled')
  assert.deepEqual(await idsOf(database.kysely), [3])
})

test('a commit that fails refuses the whole group and the next one works', async () => {
  await database.runScript(
    `create table child (id integer primary key references probe (id) deferrable initially deferred)`,
  )
  const results = await Promise.allSettled([
    database.transaction((tx) => put(tx, 1, 'innocent')),
    database.transaction((tx) => sql`insert into child (id) values (77)`.execute(tx)),
  ])
  for (const result of results) {
    assert.ok(result.status === 'rejected')
    assert.equal(result.reason.code, 'group_rolled_back')
    assert.match(String(result.reason.cause), /FOREIGN KEY/)
  }
  await database.transaction((tx) => put(tx, 2, 'after'))
  assert.deepEqual(await idsOf(database.kysely), [2])
})

test('a write outside a transaction that fails hurts nobody else in its group', async () => {
  const results = await Promise.allSettled([
    put(database.kysely, 1, 'a'),
    put(database.kysely, 2, 'a'),
    put(database.kysely, 3, 'c'),
  ])
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(await idsOf(database.kysely), [1, 3])
})

test('a body that waits holds its group, and nothing is lost when it goes on', async () => {
  const gate = Promise.withResolvers<void>()
  const inside = Promise.withResolvers<void>()
  const slow = database.transaction(async (tx) => {
    await put(tx, 1, 'slow')
    inside.resolve()
    await gate.promise
    await put(tx, 2, 'slow too')
  })
  const fast = database.transaction((tx) => put(tx, 3, 'fast'))
  await inside.promise
  assert.deepEqual(await idsOf(database.kysely), [])
  gate.resolve()
  await Promise.all([slow, fast])
  assert.deepEqual(await idsOf(database.kysely), [1, 2, 3])
})

test('a raw read-only connection cannot write', async () => {
  const store = newStore()
  try {
    assert.throws(() => store.reader.execute('create table probe (id integer)', []), /readonly/)
  } finally {
    await store.close()
  }
})

test('commits are flushed to the disk: WAL with synchronous=FULL and foreign keys on', async () => {
  const store = newStore()
  try {
    const pragma = (name: string) => Object.values(Object(store.writer.execute(`pragma ${name}`, []).rows[0]))[0]
    assert.equal(pragma('journal_mode'), 'wal')
    assert.equal(pragma('synchronous'), 2) // 2 is FULL: https://sqlite.org/pragma.html#pragma_synchronous
    assert.equal(pragma('foreign_keys'), 1)
  } finally {
    await store.close()
  }
})

test('the database and every file beside it are readable for their owner only', async () => {
  await put(database.kysely, 1, 'a')
  const names = readdirSync(folder).sort()
  assert.deepEqual(names, ['data.db', 'data.db-shm', 'data.db-wal', 'data.db.lock'])
  for (const name of names) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name)
})

test('a database file that others may read is closed to them when it is opened', async () => {
  const path = join(folder, 'open.db')
  writeFileSync(path, '')
  chmodSync(path, 0o644)
  const opened = await openDatabase(`sqlite:${path}`)
  await opened.runScript('create table t (id integer)')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(statSync(`${path}-wal`).mode & 0o777, 0o600)
  await opened.close()
})

test('a file that is no database is refused and leaves no lock behind', async () => {
  const path = join(folder, 'text.db')
  writeFileSync(path, 'this is not a database, it only looks like a file '.repeat(100))
  for (let tries = 0; tries < 2; tries++) {
    await assert.rejects(openDatabase(`sqlite:${path}`), /not a database/)
  }
})

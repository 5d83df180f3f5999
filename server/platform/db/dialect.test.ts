import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import type { Database, Db } from './db.ts'
import { dialectOf, forUpdate, forUpdateSkipLocked, greatest, isUniqueViolation, least, withLock } from './dialect.ts'
import { onEachDatabase } from './test-databases.ts'

type Tables = { items: { id: number; owner: string; name: string; hits: number | null } }

const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

onEachDatabase((open, { dialect }) => {
  let database: Database
  let items: Kysely<Tables>
  before(async () => {
    database = await open()
    items = database.kysely.$extendTables<Tables>()
    await database.runScript(`
      create table items (id bigint primary key, owner text not null, name text not null, hits bigint);
      create unique index items_owner_name on items (owner, name);
      create table labels (name text not null);
      create unique index labels_lower on labels (lower(name));
      create unique index items_hits on items (hits) where owner = 'unique';`)
  })
  beforeEach(async () => {
    await items.deleteFrom('items').execute()
    const rows = [1, 2, 3].map((id) => ({ id, owner: 'nobody', name: `n${id}`, hits: 0 }))
    await items.insertInto('items').values(rows).execute()
  })
  const tableIn = (tx: Db) => tx.$extendTables<Tables>()

  test('a handle knows its dialect, also inside a transaction', async () => {
    assert.equal(dialectOf(database.kysely), dialect)
    assert.equal(await database.transaction(async (tx) => dialectOf(tx)), dialect)
  })

  async function incrementSlowly(tx: Db, lock: boolean): Promise<void> {
    const table = tableIn(tx)
    const query = table.selectFrom('items').select('hits').where('id', '=', 1)
    const { hits } = await (lock ? forUpdate(table, query) : query).executeTakeFirstOrThrow()
    await table
      .updateTable('items')
      .set({ hits: (hits ?? 0) + 1 })
      .where('id', '=', 1)
      .execute()
  }
  const hitsOfFirst = () => items.selectFrom('items').select('hits').where('id', '=', 1).executeTakeFirstOrThrow()

  test('rows read with forUpdate cannot change before the transaction writes them', async () => {
    await Promise.all(Array.from({ length: 20 }, () => database.transaction((tx) => incrementSlowly(tx, true))))
    assert.deepEqual(await hitsOfFirst(), { hits: 20 })
  })

  test('withLock lets one transaction at a time do what a name stands for', async () => {
    await Promise.all(
      Array.from({ length: 20 }, () =>
        database.transaction(async (tx) => {
          await withLock(tx, 'increment')
          await incrementSlowly(tx, false)
        }),
      ),
    )
    assert.deepEqual(await hitsOfFirst(), { hits: 20 })
  })

  test('withLock outside a transaction is refused: the lock would be gone at once', async () => {
    await assert.rejects(withLock(database.kysely, 'increment'), TypeError)
  })

  test('forUpdateSkipLocked never gives a row to two, and waits for nobody', async () => {
    const bothRead = Promise.withResolvers<void>()
    let readers = 0
    const claim = (owner: string) =>
      database.transaction(async (tx) => {
        const table = tableIn(tx)
        const query = table.selectFrom('items').select('id').where('owner', '=', 'nobody').orderBy('id').limit(1)
        const { id } = await forUpdateSkipLocked(table, query).executeTakeFirstOrThrow()
        if (++readers === 2) bothRead.resolve()
        // On PostgreSQL both hold their row at once; on SQLite the second begins after the first.
        if (dialect === 'postgres') await bothRead.promise
        await table.updateTable('items').set({ owner }).where('id', '=', id).execute()
        return id
      })
    const ids = await Promise.all([claim('a'), claim('b')])
    assert.deepEqual(ids.sort(), [1, 2])
  })

  test('greatest and least compare columns and values, and pass over nulls', async () => {
    const row = await items
      .selectFrom('items')
      .select((eb) => [
        greatest<number, Tables>(items, eb.ref('id'), 2).as('large'),
        least<number, Tables>(items, eb.ref('id'), 2).as('small'),
        greatest<number | null, Tables>(items, eb.ref('id'), sql<null>`null`).as('some'),
        least<number | null, Tables>(items, sql<null>`null`, eb.ref('id')).as('other'),
      ])
      .where('id', '=', 3)
      .executeTakeFirstOrThrow()
    assert.deepEqual(row, { large: 3, small: 2, some: 3, other: 3 })
  })

  const duplicates: [string, Tables['items'], string][] = [
    ['a primary key', { id: 1, owner: 'x', name: 'new', hits: 0 }, 'items(id)'],
    ['several columns', { id: 9, owner: 'nobody', name: 'n1', hits: 0 }, 'items(owner,name)'],
    ['a part of the rows', { id: 9, owner: 'unique', name: 'new', hits: 5 }, 'items(hits)'],
  ]
  for (const [name, row, constraint] of duplicates) {
    test(`a duplicate in a unique index over ${name} is named alike`, async () => {
      await items.insertInto('items').values({ id: 5, owner: 'unique', name: 'other', hits: 5 }).execute()
      const error = await caught(items.insertInto('items').values(row).execute())
      assert.equal(isUniqueViolation(error), constraint)
    })
  }

  test('a duplicate in a unique index over an expression answers the index, whatever the value says', async () => {
    const name = '(id)=(1) already exists'
    await sql`insert into labels (name) values (${name})`.execute(items)
    const error = await caught(sql`insert into labels (name) values (${name.toUpperCase()})`.execute(items))
    assert.equal(isUniqueViolation(error), 'labels_lower')
  })

  test('other errors are no unique violations', async () => {
    const error = await caught(sql`insert into items (id, owner) values (9, null)`.execute(items))
    assert.ok(error instanceof Error)
    assert.equal(isUniqueViolation(error), undefined)
    assert.equal(isUniqueViolation(new Error('UNIQUE constraint failed: items.id')), undefined)
    assert.equal(isUniqueViolation(undefined), undefined)
  })
})

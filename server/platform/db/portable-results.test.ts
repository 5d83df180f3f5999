import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { sql } from 'kysely'
import { type Database, openDatabase } from './db.ts'
import { onEachDatabase } from './test-databases.ts'

type Tables = {
  portableRows: {
    rowId: number
    bigValue: number | bigint | null
    someText: string | null
    rawBytes: Uint8Array | null
  }
}

onEachDatabase((open, { dialect }) => {
  let database: Database
  before(async () => {
    database = await open()
    const bytes = dialect === 'sqlite' ? 'blob' : 'bytea'
    await database.runScript(
      `create table portable_rows (row_id bigint primary key, big_value bigint, some_text text, raw_bytes ${bytes});`,
    )
  })
  const table = () => database.kysely.$extendTables<Tables>()

  test('a row comes back as it was written: camelCase, safe integers as numbers, bytes as bytes', async () => {
    const row = {
      rowId: 1,
      bigValue: Number.MAX_SAFE_INTEGER,
      someText: 'ä €\n',
      rawBytes: new Uint8Array([0, 255, 7]),
    }
    const inserted = await table().insertInto('portableRows').values(row).returningAll().executeTakeFirstOrThrow()
    assert.deepEqual(inserted, row)
    assert.deepEqual(await table().selectFrom('portableRows').selectAll().execute(), [row])
  })

  test('counts, sums, averages and conditions are numbers', async () => {
    const { rows } = await sql`select count(*) as all_rows, sum(row_id) as the_sum, avg(row_id) as the_average,
      exists (select 1 from portable_rows) as is_there, 1 = 2 as is_equal from portable_rows where row_id = 1`.execute(
      database.kysely,
    )
    assert.deepEqual(rows, [{ allRows: 1, theSum: 1, theAverage: 1, isThere: 1, isEqual: 0 }])
  })

  test('a number of affected rows is told, an inserted id is not', async () => {
    const result = await table().insertInto('portableRows').values({ rowId: 2 }).executeTakeFirstOrThrow()
    assert.equal(result.insertId, undefined)
    assert.equal(result.numInsertedOrUpdatedRows, 1n)
    const updated = await table().updateTable('portableRows').set({ bigValue: 1 }).where('rowId', '=', 99).execute()
    assert.equal(updated[0]?.numUpdatedRows, 0n)
  })

  test('an integer beyond 2^53 in the database is refused, not rounded', async () => {
    await table()
      .insertInto('portableRows')
      .values({ rowId: 3, bigValue: 2n ** 53n + 1n })
      .execute()
    await assert.rejects(table().selectFrom('portableRows').select('bigValue').where('rowId', '=', 3).execute(), {
      code: dialect === 'sqlite' ? 'ERR_OUT_OF_RANGE' : 'value_out_of_range',
    })
    await database.ping()
  })

  test('a number in a text column keeps its integer form', async () => {
    await sql`insert into portable_rows (row_id, some_text) values (4, cast(${3} as text))`.execute(database.kysely)
    const { rows } = await sql`select some_text from portable_rows where row_id = 4`.execute(database.kysely)
    assert.deepEqual(rows, [{ someText: '3' }])
  })

  test('like tells upper from lower case', async () => {
    const { rows } = await sql`select 'ABC' like 'abc' as same`.execute(database.kysely)
    assert.deepEqual(rows, [{ same: 0 }])
  })

  const refused: [string, unknown][] = [
    ['a boolean', true],
    ['undefined', undefined],
    ['NaN', Number.NaN],
    ['an unsafe integer', 2 ** 53],
    ['an integer beyond 64 bits', 2n ** 63n],
    ['a date', new Date(0)],
    ['an object', { a: 1 }],
    ['an array', ['a']],
    ['text with a NUL', 'a\0b'],
  ]
  for (const [name, value] of refused) {
    test(`the parameter ${name} is refused`, async () => {
      await assert.rejects(sql`select ${value} as value`.execute(database.kysely), { code: 'parameter_refused' })
    })
  }

  test('streaming is refused', async () => {
    const rows = table().selectFrom('portableRows').selectAll().stream()
    await assert.rejects(rows.next(), /not streamed/)
  })
})

test('a URL of another kind is refused without being quoted', async () => {
  for (const url of [
    'mysql://u:hunter2@h/d',
    'sqlite:',
    'sqlite::memory:',
    'postgres://u:hunter2@:bad:/d',
    'hunter2',
  ]) {
    await assert.rejects(openDatabase(url), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'database_url_invalid')
      assert.doesNotMatch(error.message, /hunter2/)
      return true
    })
  }
})

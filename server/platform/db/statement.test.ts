import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Database } from './db.ts'
import { insert, oneOf, only, rows, run, runTogether, statement, text, updateEach } from './statement.ts'
import { onEachDatabase } from './test-databases.ts'

const columns = { rowId: 'bigint', someText: 'text', bigValue: 'bigint' } as const

onEachDatabase((open) => {
  let database: Database
  before(async () => {
    database = await open()
    await database.runScript('create table listed_rows (row_id bigint primary key, some_text text, big_value bigint);')
  })
  const readAll = () =>
    run<{ rowId: number; someText: string | null; bigValue: number | null }>(
      database.kysely,
      statement`select * from listed_rows order by row_id`,
    )
  const clear = () => run(database.kysely, statement`delete from listed_rows`)

  test('rows come back as they were given: nobody’s words are read as SQL, what is absent is null', async () => {
    await clear()
    const given = [
      { rowId: 1, someText: `'); drop table listed_rows; --`, bigValue: Number.MAX_SAFE_INTEGER },
      { rowId: 2, someText: '"\\u0041" $1 ? ä 🐝\n', bigValue: -1 },
      { rowId: 3 },
      { rowId: 4, someText: 'half \ud83d', bigValue: null },
    ]
    await run(database.kysely, insert('listed_rows', columns, given))
    assert.deepEqual(await readAll(), [
      given[0],
      given[1],
      { rowId: 3, someText: null, bigValue: null },
      { rowId: 4, someText: 'half \ufffd', bigValue: null },
    ])
  })

  test('what one of the databases could not hold is refused before it is sent', () => {
    for (const row of [{ someText: 'a\0b' }, { bigValue: 2 ** 60 }, { bigValue: Number.NaN }])
      assert.throws(() => insert('listed_rows', columns, [{ rowId: 1, ...row }]), { code: 'parameter_refused' })
  })

  test('an empty list inserts nothing; a tail decides about conflicts and answers', async () => {
    await clear()
    await run(database.kysely, insert('listed_rows', columns, []))
    assert.deepEqual(await readAll(), [])
    const twice = [{ rowId: 1 }, { rowId: 2 }]
    await run(database.kysely, insert('listed_rows', columns, [{ rowId: 1 }]))
    const inserted = await run(
      database.kysely,
      insert('listed_rows', columns, twice, 'on conflict do nothing returning row_id'),
    )
    assert.deepEqual(inserted, [{ rowId: 2 }])
  })

  test('values, rows and parts of statements keep their places', async () => {
    await clear()
    await run(database.kysely, insert('listed_rows', columns, [{ rowId: 1, someText: 'a', bigValue: 1 }]))
    const given = rows({ ofRow: 'bigint', toAdd: 'bigint' }, [
      { ofRow: 1, toAdd: 5 },
      { ofRow: 9, toAdd: 5 },
    ])
    const part = statement`big_value + to_add + ${10}`
    const [changed] = await run<{ bigValue: number; word: string }>(
      database.kysely,
      statement`update listed_rows set big_value = ${part}, some_text = ${'b'} from ${given} where row_id = of_row
        returning big_value, ${text(`'said'`)} as word`,
    )
    assert.deepEqual(changed, { bigValue: 16, word: 'said' })
  })

  test('one of a list is found however its values are written, and an empty list holds none', async () => {
    await clear()
    const words = ['a', 'b,c', '{"d"}', 'e\\', "f'g", 'null', '']
    await run(
      database.kysely,
      insert(
        'listed_rows',
        columns,
        words.map((someText, rowId) => ({ rowId, someText })),
      ),
    )
    const find = async (values: string[]) =>
      (
        await run<{ someText: string }>(
          database.kysely,
          statement`select some_text from listed_rows where some_text ${oneOf('text', values)} order by row_id`,
        )
      ).map(({ someText }) => someText)
    for (const word of words) assert.deepEqual(await find([word, 'nobody']), [word])
    assert.deepEqual(await find(words), words)
    assert.deepEqual(await find([]), [])
    assert.deepEqual(
      await run(database.kysely, statement`select row_id from listed_rows where row_id ${oneOf('bigint', [2, 99])}`),
      [{ rowId: 2 }],
    )
    assert.throws(() => oneOf('text', ['a\0']), { code: 'parameter_refused' })
  })

  test('each row of a list gets its own values, the others keep theirs', async () => {
    await clear()
    await run(
      database.kysely,
      insert(
        'listed_rows',
        columns,
        [1, 2, 3].map((rowId) => ({ rowId, someText: 'old' })),
      ),
    )
    const set = statement`some_text = new_text, big_value = ${7}`
    const list = [
      { ofKey: 3, newText: null },
      { ofKey: 1, newText: 'new' },
      { ofKey: 9, newText: 'nobody' },
    ]
    const updated = { ofKey: 'bigint', newText: 'text' } as const
    await run(database.kysely, updateEach('listed_rows', 'row_id', set, updated, list))
    assert.deepEqual(await readAll(), [
      { rowId: 1, someText: 'new', bigValue: 7 },
      { rowId: 2, someText: 'old', bigValue: null },
      { rowId: 3, someText: null, bigValue: 7 },
    ])
  })

  test('a part for one of the databases is not asked of the other', async () => {
    const [row] = await run<{ word: string }>(
      database.kysely,
      statement`select ${'x'} ${only('postgres', statement`|| ${'postgres'}`)} ${only('sqlite', statement`|| ${'sqlite'}`)} || ${'!'} as word`,
    )
    assert.equal(row?.word, `x${database.dialect}!`)
  })

  test('statements together are one transaction’s: outside of one they are refused, and one that fails undoes all', async () => {
    await clear()
    const add = (rowId: number) => insert('listed_rows', columns, [{ rowId }])
    await assert.rejects(runTogether(database.kysely, [add(1)]), { code: 'outside_transaction' })
    await database.transaction((tx) => runTogether(tx, [add(1), add(2), add(3)]))
    await assert.rejects(database.transaction((tx) => runTogether(tx, [add(4), add(1), add(5)])))
    assert.deepEqual(
      (await readAll()).map(({ rowId }) => rowId),
      [1, 2, 3],
    )
  })
})

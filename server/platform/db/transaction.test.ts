import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { sql } from 'kysely'
import { type Database, type Db, openDatabase } from './db.ts'
import { onEachDatabase } from './test-databases.ts'

type Probe = {
  probe: { id: number; text: string; hits: number }
}

async function put(db: Db, id: number, text: string): Promise<void> {
  await db.$extendTables<Probe>().insertInto('probe').values({ id, text, hits: 0 }).execute()
}

async function idsOf(db: Db): Promise<number[]> {
  const rows = await db.$extendTables<Probe>().selectFrom('probe').select('id').orderBy('id').execute()
  return rows.map((row) => row.id)
}

onEachDatabase((open, { dialect, createUrl }) => {
  let database: Database
  before(async () => {
    database = await open()
    await database.runScript(
      'create table probe (id bigint primary key, text text not null unique, hits bigint not null)',
    )
  })
  beforeEach(() => database.runScript('delete from probe'))

  test('a body that returns is kept and its value handed on', async () => {
    const value = await database.transaction(async (tx) => {
      await put(tx, 1, 'a')
      return 'value'
    })
    assert.equal(value, 'value')
    assert.deepEqual(await idsOf(database.kysely), [1])
  })

  test('a body that throws leaves nothing, and its own error comes out', async () => {
    const mine = new Error('mine')
    await assert.rejects(
      database.transaction(async (tx) => {
        await put(tx, 1, 'a')
        throw mine
      }),
      (error) => error === mine,
    )
    assert.deepEqual(await idsOf(database.kysely), [])
  })

  test('of transactions at once, the failing ones are undone alone and each sees its own writes', async () => {
    const results = await Promise.allSettled(
      [1, 2, 3, 4, 5].map((id) =>
        database.transaction(async (tx) => {
          await put(tx, id, `text ${id}`)
          if (id === 3) throw new Error('mine')
          if (id === 4) await put(tx, 40, 'text 4')
          assert.ok((await idsOf(tx)).includes(id))
          return id
        }),
      ),
    )
    assert.deepEqual(
      results.map((result) => result.status),
      ['fulfilled', 'fulfilled', 'rejected', 'rejected', 'fulfilled'],
    )
    assert.deepEqual(await idsOf(database.kysely), [1, 2, 5])
  })

  test('200 transactions at once on one row lose no update', async () => {
    await put(database.kysely, 1, 'a')
    await Promise.all(
      Array.from({ length: 200 }, () =>
        database.transaction((tx) => sql`update probe set hits = hits + 1 where id = 1`.execute(tx)),
      ),
    )
    const { rows } = await sql<{ hits: number }>`select hits from probe`.execute(database.kysely)
    assert.deepEqual(rows, [{ hits: 200 }])
  })

  test('after a statement has failed the transaction is over, though the body catches the error', async () => {
    let second: unknown
    await assert.rejects(
      database.transaction(async (tx) => {
        await put(tx, 1, 'a')
        await put(tx, 1, 'b').catch(() => {})
        await put(tx, 2, 'c').catch((error) => {
          second = error
        })
      }),
      { code: 'transaction_aborted' },
    )
    assert.ok(second instanceof Error && 'code' in second && second.code === 'transaction_aborted')
    assert.deepEqual(await idsOf(database.kysely), [])
  })

  test('statements of one transaction through Promise.all stay in it, also when one fails', async () => {
    const results = await Promise.allSettled([
      database.transaction(async (tx) => {
        await Promise.all([put(tx, 1, 'p'), put(tx, 2, 'p'), put(tx, 3, 'q'), put(tx, 4, 'r')])
      }),
      database.transaction((tx) => put(tx, 9, 'z')),
    ])
    assert.deepEqual(
      results.map((result) => result.status),
      ['rejected', 'fulfilled'],
    )
    await database.transaction((tx) => put(tx, 10, 'later'))
    assert.deepEqual(await idsOf(database.kysely), [9, 10])
  })

  test('a statement that was not awaited cannot come after the commit', async () => {
    let late: Promise<void> | undefined
    await database.transaction(async (tx) => {
      await put(tx, 1, 'a')
      late = new Promise<void>((resolve) => setImmediate(resolve)).then(() => put(tx, 2, 'late'))
      late.catch(() => {})
    })
    await assert.rejects(async () => late)
    assert.deepEqual(await idsOf(database.kysely), [1])
  })

  test('a body that writes or reads through the outer handle is refused instead of waiting forever', async () => {
    for (const outside of [() => put(database.kysely, 2, 'b'), () => idsOf(database.kysely)]) {
      await assert.rejects(
        database.transaction(async (tx) => {
          await put(tx, 1, 'a')
          await outside()
        }),
        { code: 'outside_transaction' },
      )
    }
    assert.deepEqual(await idsOf(database.kysely), [])
  })

  test('a transaction inside a transaction is refused', async () => {
    await assert.rejects(
      database.transaction(async (tx) => {
        await put(tx, 1, 'a')
        await database.transaction((inner) => put(inner, 2, 'b'))
      }),
      { code: 'transaction_nested' },
    )
    assert.deepEqual(await idsOf(database.kysely), [])
  })

  test('transactions of Kysely itself are refused: they would pass by the retries and the guard', async () => {
    await assert.rejects(
      database.kysely.transaction().execute(async () => {}),
      { code: 'outside_transaction' },
    )
  })

  test('work begun in a body may use the database once the transaction is over', async () => {
    const over = Promise.withResolvers<void>()
    const after = await database.transaction(async (tx) => {
      await put(tx, 1, 'a')
      return { done: over.promise.then(() => put(database.kysely, 2, 'b')) }
    })
    over.resolve()
    await after.done
    assert.deepEqual(await idsOf(database.kysely), [1, 2])
  })

  test('a body of one database may use another database', async () => {
    const other = await open()
    await database.transaction(async (tx) => {
      await put(tx, 1, 'a')
      await other.ping()
    })
    assert.deepEqual(await idsOf(database.kysely), [1])
  })

  test('a body that waits for something else loses its transaction, and the others go on', async () => {
    const url = await createUrl()
    const faults: string[] = []
    const impatient = await openDatabase(url, {
      transactionTimeoutMs: 200,
      log: { warn: (fields) => faults.push(fields.code) },
    })
    try {
      await impatient.runScript('create table probe (id bigint primary key, text text not null, hits bigint not null)')
      const never = Promise.withResolvers<void>()
      const [slow, fast] = await Promise.allSettled([
        impatient.transaction(async (tx) => {
          await put(tx, 1, 'slow')
          await never.promise
        }),
        put(impatient.kysely, 2, 'fast'),
      ])
      assert.ok(slow?.status === 'rejected')
      assert.equal(slow.reason.code, 'transaction_timeout')
      assert.equal(fast?.status, 'fulfilled')
      assert.deepEqual(await idsOf(impatient.kysely), [2])
      if (dialect === 'sqlite') assert.deepEqual(faults, ['transaction_timeout'])
    } finally {
      await impatient.close()
    }
  })

  test('closing waits for the transactions under way, and refuses what comes after', async () => {
    const closing = await openDatabase(await createUrl())
    await closing.runScript('create table probe (id bigint primary key, text text not null, hits bigint not null)')
    const inside = Promise.withResolvers<void>()
    const open = Promise.withResolvers<void>()
    const pending = closing.transaction(async (tx) => {
      inside.resolve()
      await open.promise
      await put(tx, 1, 'a')
    })
    await inside.promise
    const closed = closing.close()
    open.resolve()
    await pending
    await closed
    await assert.rejects(closing.transaction((tx) => put(tx, 2, 'b')))
    await closing.close()
  })
})

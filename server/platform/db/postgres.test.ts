import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { sql } from 'kysely'
import { type Database, type Db, openDatabase } from './db.ts'
import { onEachDatabase } from './test-databases.ts'

const pidOf = async (db: Db) =>
  (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]?.pid ?? assert.fail()

const hit = (db: Db, id: number) => sql`update probe set hits = hits + 1 where id = ${id}`.execute(db)

async function createProbe(database: Database): Promise<void> {
  await database.runScript(`create table probe (id bigint primary key, hits bigint not null);
    insert into probe values (1, 0), (2, 0)`)
}

async function hitsOf(database: Database): Promise<number[]> {
  const { rows } = await sql<{ hits: number }>`select hits from probe order by id`.execute(database.kysely)
  return rows.map((row) => row.hits)
}

onEachDatabase((open, { dialect, createUrl }) => {
  if (dialect !== 'postgres') return

  test('transactions in a deadlock both succeed in the end', async () => {
    const database = await open()
    await createProbe(database)
    const bothHold = Promise.withResolvers<void>()
    let holders = 0
    let runs = 0
    const hitBoth = (first: number, second: number) =>
      database.transaction(async (tx) => {
        runs++
        await hit(tx, first)
        if (++holders === 2) bothHold.resolve()
        await bothHold.promise
        await hit(tx, second)
      })
    await Promise.all([hitBoth(1, 2), hitBoth(2, 1)])
    assert.deepEqual(await hitsOf(database), [2, 2])
    assert.equal(runs, 3)
  })

  test('a serialization failure is tried five times, spread by the random source, and then comes out', async () => {
    let draws = 0
    const database = await open({
      random: () => {
        draws++
        return 0
      },
    })
    let runs = 0
    await assert.rejects(
      database.transaction(async (tx) => {
        runs++
        await sql`do $$ begin raise exception 'again' using errcode = '40001'; end $$`.execute(tx)
      }),
      { code: '40001' },
    )
    assert.deepEqual([runs, draws], [5, 4])
  })

  test('other errors are not tried again', async () => {
    const database = await open()
    let runs = 0
    await assert.rejects(
      database.transaction(async (tx) => {
        runs++
        await sql`select 1/0`.execute(tx)
      }),
      { code: '22012' },
    )
    assert.equal(runs, 1)
  })

  test('a session killed while a body waits fails that body, not the process', async () => {
    const database = await open()
    const never = Promise.withResolvers<void>()
    const inside = Promise.withResolvers<number>()
    const killed = database.transaction(async (tx) => {
      inside.resolve(await pidOf(tx))
      await never.promise
    })
    const pid = await inside.promise
    await Promise.all([
      assert.rejects(killed, { code: '57P01' }),
      sql`select pg_terminate_backend(${pid}::bigint::int)`.execute(database.kysely),
    ])
    await database.ping()
  })

  test('an idle session that is killed is reported and replaced', async () => {
    const reported = Promise.withResolvers<{ code: string }>()
    const url = await createUrl()
    const [database, other] = await Promise.all([
      openDatabase(url, { log: { warn: reported.resolve } }),
      openDatabase(url),
    ])
    try {
      const pid = await pidOf(database.kysely)
      await sql`select pg_terminate_backend(${pid}::bigint::int)`.execute(other.kysely)
      assert.equal((await reported.promise).code, '57P01')
      assert.notEqual(await pidOf(database.kysely), pid)
    } finally {
      await Promise.all([database.close(), other.close()])
    }
  })

  test('a transaction whose first statement fails, with which its begin has travelled, leaves a session that works', async () => {
    const database = await open({ poolSize: 1 })
    await createProbe(database)
    await assert.rejects(
      database.transaction(async (tx) => {
        await sql`select 1/0`.execute(tx)
      }),
      { code: '22012' },
    )
    await hit(database.kysely, 1)
    await assert.rejects(
      database.transaction(async (tx) => {
        await hit(tx, 1)
        throw new Error('changed its mind')
      }),
    )
    assert.deepEqual(await hitsOf(database), [1, 0])
  })

  test('what is asked often is kept prepared, up to a bound, but nothing that a new column would break', async () => {
    const database = await open({ poolSize: 1 })
    await createProbe(database)
    const often = async (text: string) => {
      for (let use = 0; use < 25; use++) await sql.raw(text).execute(database.kysely)
    }
    await often('select id from probe')
    await often('select * from probe')
    await often('select probe.* from probe')
    await often('update probe set hits = 0 returning *')
    const prepared = async () =>
      (
        await sql<{ statement: string }>`select statement from pg_prepared_statements order by 1`.execute(
          database.kysely,
        )
      ).rows.map(({ statement }) => statement)
    assert.deepEqual(await prepared(), ['select id from probe'])
    await database.runScript('alter table probe add column more text')
    await sql.raw('select * from probe').execute(database.kysely)
    for (let number = 0; number < 110; number++) await often(`select id + ${number} as sum from probe`)
    assert.equal((await prepared()).length, 100)
  })

  test('a statement that runs too long is canceled', async () => {
    const database = await open({ statementTimeoutMs: 100 })
    await assert.rejects(sql`select pg_sleep(60)`.execute(database.kysely), { code: '57014' })
    await database.ping()
  })

  test('sessions are named and bounded', async () => {
    const database = await open({ transactionTimeoutMs: 4_000, statementTimeoutMs: 9_000 })
    const { rows } = await sql`select current_setting('application_name') as name,
      current_setting('statement_timeout') as statement,
      current_setting('idle_in_transaction_session_timeout') as idle`.execute(database.kysely)
    assert.deepEqual(rows, [{ name: 'hivesync', statement: '9s', idle: '4s' }])
  })
})

test('a password is in no error', async () => {
  // Nothing answers at port 1 (tcpmux).
  const database = await openDatabase('postgres://u:hunter2@127.0.0.1:1/d')
  await assert.rejects(database.ping(), (error) => {
    assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), /hunter2/)
    return true
  })
  await database.close()
})

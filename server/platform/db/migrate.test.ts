import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { sql } from 'kysely'
import { type Database, openDatabase } from './db.ts'
import { migrate } from './migrate.ts'
import { readMigrations, renderMigration } from './migration-files.ts'
import { onEachDatabase } from './test-databases.ts'

const root = mkdtempSync(join(tmpdir(), 'hivesync-migrations-'))
const empty = join(root, 'empty')
mkdirSync(empty)
after(() => rmSync(root, { recursive: true, force: true }))

const now = () => 42
let folders = 0
function newFolder(files: Record<string, string>): string {
  const directory = join(root, String(++folders))
  mkdirSync(directory)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

const first = { '0001_first.sql': 'create table one (id {{serial}}, data {{bytes}}, text text);' }
const second = {
  '0002_second.sql': `
create table two (id bigint primary key, hits bigint not null default 0);
-- sqlite:begin
create trigger two_hits after insert on one begin
  update two set hits = hits + 1;
  update two set hits = hits + 1;
end;
-- sqlite:end
-- postgres:begin
create function two_hits() returns trigger language plpgsql as $$ begin
  update two set hits = hits + 2; return new;
end $$;
create trigger two_hits after insert on one for each row execute function two_hits();
-- postgres:end
insert into two (id) values (1); -- a semicolon; in a comment
`,
}

onEachDatabase(
  (open) => {
    let database: Database
    beforeEach(async () => {
      database = await open()
    })

    test('files are applied in order, once, with triggers and functions whole', async () => {
      const directory = newFolder({ ...first, ...second })
      assert.deepEqual(await migrate(database, { now, directory }), ['0001_first.sql', '0002_second.sql'])
      assert.deepEqual(await migrate(database, { now, directory }), [])
      await sql`insert into one (text) values ('a')`.execute(database.kysely)
      const { rows } = await sql`select hits, (select max(id) from one) as id from two`.execute(database.kysely)
      assert.deepEqual(rows, [{ hits: 2, id: 1 }])
      const applied = await sql`select version, applied_at from migrations order by version`.execute(database.kysely)
      assert.deepEqual(applied.rows, [
        { version: 1, appliedAt: 42 },
        { version: 2, appliedAt: 42 },
      ])
    })

    test('a file that fails leaves nothing of itself, and the ones before it stay', async () => {
      const broken = { '0002_broken.sql': 'create table two (id bigint); insert into nowhere values (1);' }
      await assert.rejects(migrate(database, { now, directory: newFolder({ ...first, ...broken }) }), /nowhere/)
      assert.deepEqual(await migrate(database, { now, directory: newFolder({ ...first, ...second }) }), [
        '0002_second.sql',
      ])
    })

    test('an applied file that was changed is refused', async () => {
      const directory = newFolder(first)
      await migrate(database, { now, directory })
      writeFileSync(join(directory, '0001_first.sql'), `${first['0001_first.sql']}\n-- harmless?`)
      await assert.rejects(migrate(database, { now, directory }), { code: 'migration_changed' })
    })

    test('line ends do not make a file another', async () => {
      await migrate(database, { now, directory: newFolder({ '0001_first.sql': 'create table one\n(id bigint);\n' }) })
      const directory = newFolder({ '0001_first.sql': 'create table one\r\n(id bigint);\r\n' })
      assert.deepEqual(await migrate(database, { now, directory }), [])
    })

    test('a database newer than the program is refused', async () => {
      const directory = newFolder({ ...first, ...second })
      await migrate(database, { now, directory })
      unlinkSync(join(directory, '0002_second.sql'))
      await assert.rejects(migrate(database, { now, directory }), { code: 'migration_unknown' })
    })

    test('another file in the place of an applied one is refused, and so is a hole in the list', async () => {
      await migrate(database, { now, directory: newFolder({ ...first, ...second }) })
      const directory = newFolder({ ...first, '0002_other.sql': 'select 1' })
      await assert.rejects(migrate(database, { now, directory }), { code: 'migration_missing' })
      await sql`delete from migrations where version = 1`.execute(database.kysely)
      await assert.rejects(migrate(database, { now, directory }), { code: 'migration_missing' })
    })

    test('two that migrate at once apply every file once', async () => {
      const directory = newFolder({ ...first, ...second })
      const applied = await Promise.all([1, 2, 3].map(() => migrate(database, { now, directory })))
      assert.deepEqual(applied.flat().sort(), ['0001_first.sql', '0002_second.sql'])
    })
  },
  { directory: empty },
)

onEachDatabase((_open, { createUrl }) => {
  let url: string
  before(async () => {
    url = await createUrl()
  })

  test('the migrations of this program are applied and accepted at the next start', async () => {
    const database = await openDatabase(url)
    try {
      const { rows } = await sql<{ n: number }>`select count(*) as n from migrations`.execute(database.kysely)
      assert.ok((rows[0]?.n ?? 0) >= 1)
      assert.deepEqual(await migrate(database, { now }), [])
    } finally {
      await database.close()
    }
  })
})

test('names, numbers, tokens and blocks that are wrong are refused', async () => {
  const refused = { code: 'migration_invalid' }
  await assert.rejects(readMigrations(newFolder({ '0002_late.sql': '' })), refused)
  await assert.rejects(readMigrations(newFolder({ '0001_a.sql': '', '0001_b.sql': '' })), refused)
  await assert.rejects(readMigrations(newFolder({ '0001-Dash.sql': '' })), refused)
  for (const text of [
    '{{nothing}}',
    '{{toString}}',
    '-- sqlite:begin',
    '-- sqlite:end',
    '-- sqlite:begin\n-- postgres:end',
  ]) {
    assert.throws(() => renderMigration(text, 'sqlite'), refused, text)
  }
})

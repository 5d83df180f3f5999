import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { migrate } from './migrate.ts'
import { migrationsDirectory } from './migration-files.ts'
import { onEachDatabase } from './test-databases.ts'

const directory = mkdtempSync(join(tmpdir(), 'hivesync-migrations-'))
after(() => rmSync(directory, { recursive: true, force: true }))
copyFileSync(join(migrationsDirectory, '0001_spine.sql'), join(directory, '0001_spine.sql'))

onEachDatabase(
  (open) => {
    test('jobs from before they had a subject get theirs', async () => {
      const database = await open()
      const inputs = [
        { repository: 'https://example.net/a.git' },
        { repository: 'https://example.net/a.git', ref: 'main' },
        { files: [{ path: 'x', content: 'a\0\\u0000\0\ud800\n' }], command: ['echo', 'two words', '🐝'] },
      ]
      const db = database.kysely
      await sql`insert into teams (id, name, created_at) values ('t', 't', 1)`.execute(db)
      await sql`insert into projects (id, team_id, name, created_at) values ('p', 't', 'p', 1)`.execute(db)
      for (const [index, input] of inputs.entries()) {
        await sql`
          insert into jobs (id, project_id, team_id, kind, state, priority, labels, input, submitted_at, ttl_seconds, expires_at, max_attempts)
          values (${`j${index}`}, 'p', 't', 'x', 'queued', 1, '[]', ${JSON.stringify(input)}, 1, 1, 1, 1)`.execute(db)
      }
      assert.deepEqual((await migrate(database, { now: () => 1 }))[0], '0002_job_subject.sql')
      const { rows } = await sql<{ subject: string }>`select subject from jobs order by id`.execute(db)
      assert.deepEqual(
        rows.map(({ subject }) => subject),
        ['https://example.net/a.git', 'https://example.net/a.git main', 'echo two words 🐝'],
      )
    })
  },
  { directory },
)

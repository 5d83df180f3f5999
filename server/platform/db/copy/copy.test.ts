import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDatabase } from '../db.ts'
import { migrate } from '../migrate.ts'
import { onEachDatabase } from '../test-databases.ts'
import { type CellValue, type DatabaseCopy, openCopy } from './read-copy.ts'
import { openCopyTarget } from './write-copy.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-copy-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const fault = { event: 'e', count: 1, firstAt: 1, lastAt: 2 ** 53 - 1 }

async function rowsOf(copy: DatabaseCopy, name: string): Promise<CellValue[][]> {
  const table = copy.tables.find((each) => each.name === name)
  assert.ok(table)
  const rows: CellValue[][] = []
  for await (const batch of copy.rows(table)) rows.push(...batch)
  return rows
}

onEachDatabase((_open, { dialect, createUrl }) => {
  test('a copy is of one moment: what is written meanwhile, also into a table not yet read, is not in it', async () => {
    const url = await createUrl()
    const db = await openDatabase(url)
    try {
      await db.kysely
        .insertInto('faults')
        .values({ ...fault, fingerprint: 'before' })
        .execute()
      await using copy = await openCopy(url)
      assert.equal(copy.dialect, dialect)
      await rowsOf(copy, 'tiers')
      await db.kysely
        .insertInto('faults')
        .values({ ...fault, fingerprint: 'after' })
        .execute()
      const [row, ...more] = await rowsOf(copy, 'faults')
      assert.deepEqual([more.length, row?.includes('before'), row?.includes(2 ** 53 - 1)], [0, true, true])
    } finally {
      await db.close()
    }
  })

  test('a reference that leads nowhere is found at the commit, and nothing is kept', async () => {
    const url = await createUrl()
    {
      await using target = await openCopyTarget(url)
      const columns = ['id', 'kind', 'subject', 'severity', 'detail', 'raised_at', 'last_at', 'acknowledged_by']
      await target.insert({ name: 'alerts', columns }, [['a', 'k', '', 'warning', 'd', 1, 1, 'nobody']])
      await assert.rejects(target.commit(1), { code: dialect === 'sqlite' ? 'copy_broken' : '23503' })
    }
    await using copy = await openCopy(url)
    assert.deepEqual(await rowsOf(copy, 'alerts'), [])
  })
})

test('a file that a server has open is no target', async () => {
  const url = `sqlite:${join(folder, 'open.db')}`
  const db = await openDatabase(url)
  try {
    await migrate(db, { now: () => 1 })
    await assert.rejects(openCopyTarget(url), { code: 'database_in_use' })
  } finally {
    await db.close()
  }
})

// A server that runs as a role which may not change the schema, nor what is recorded: its backup needs no more than that role, its restore the owner.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { describeHive } from '../../test/harness/hive.ts'
import { verifyDatabase } from '../audit/audit.ts'
import { sealAudit } from '../audit/sequence.ts'
import { openDatabase } from '../platform/db/db.ts'
import { ensureRuntimeRole, mayChangeAuditTables } from '../platform/db/runtime-role.ts'
import { run, statement, text } from '../platform/db/statement.ts'
import { bringUpToDate } from '../platform/migrate-database.ts'
import { restoreBackup, writeBackup } from './backup.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-owner-'))
after(() => rmSync(folder, { recursive: true, force: true }))

describeHive('a server that does not own its tables', (open, { dialect, createUrl }) => {
  if (dialect === 'sqlite') return
  const made: { adminUrl: string; name: string }[] = []
  // By now their databases are gone, and with them every right that a role had.
  after(async () => {
    for (const { adminUrl, name } of made) {
      const admin = await openDatabase(adminUrl)
      await run(admin.kysely, statement`${text(`drop role ${name}`)}`)
      await admin.close()
    }
  })
  const asRole = (url: string, { name, password }: { name: string; password: string | null }): string => {
    const own = new URL(url)
    own.username = name
    own.password = password ?? ''
    return own.href
  }

  test('is backed up as its role and restored as the owner, who gives the role its rights anew', async () => {
    await using hive = await open()
    await hive.person('ada')
    await sealAudit(hive.ctx)
    const { databaseUrl } = hive.ctx.config
    const role = await ensureRuntimeRole(hive.ctx.db, `hivesync_test_${randomBytes(6).toString('hex')}`)
    made.push({ adminUrl: new URL('/postgres', databaseUrl).href, name: role.name })
    const path = join(folder, 'backup')
    await writeBackup({ ...hive.ctx, config: { ...hive.ctx.config, databaseUrl: asRole(databaseUrl, role) } }, path)

    const ownerUrl = await createUrl()
    const store = { folder: join(folder, 'store'), isEncrypted: false }
    const config = { ...hive.ctx.config, databaseUrl: asRole(ownerUrl, role), migrationUrl: ownerUrl, store }
    const openRestored = async () => {
      const db = await openDatabase(config.databaseUrl)
      await bringUpToDate(config, db, hive.clock.now)
      return { ...hive.ctx, config, db }
    }
    await restoreBackup({ ...hive.ctx, config }, path, openRestored)
    const ctx = await openRestored()
    try {
      assert.equal(await mayChangeAuditTables(ctx.db), false)
      await sealAudit(ctx)
      assert.equal((await verifyDatabase(ctx.db.kysely)).outcome, 'ok')
      assert.ok((await ctx.db.kysely.selectFrom('users').select('id').execute()).length > 0)
    } finally {
      await ctx.db.close()
    }
  })
})

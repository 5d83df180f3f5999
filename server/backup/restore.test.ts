import assert from 'node:assert/strict'
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { leave } from '../../test/harness/files.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, submitted, take } from '../../test/harness/jobs.ts'
import { verifyDatabase } from '../audit/audit.ts'
import { sealAudit } from '../audit/sequence.ts'
import { record, tamper } from '../audit/test-log.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { openDatabase } from '../platform/db/db.ts'
import { migrate } from '../platform/db/migrate.ts'
import { migrationsDirectory, readMigrations } from '../platform/db/migration-files.ts'
import { openStore } from '../platform/store/open-store.ts'
import { BackupUnreadable, restoreBackup, verifyBackup, writeBackup } from './backup.ts'
import { leftOut } from './make-backup.ts'
import { type BackupRecord, decodeRecords, encodeRecord } from './records.ts'
import { openBackup, sealBackup } from './sealed-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-restore-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let names = 0
const newPath = (): string => join(folder, `${++names}`)

describeHive('a restore', (open, each) => {
  const partsOf = (hive: Hive, databaseUrl: string) => ({
    config: { databaseUrl, store: { folder: newPath(), isEncrypted: false } },
    keyring: hive.ctx.keyring,
    clock: hive.clock,
  })
  const openAt = (hive: Hive, databaseUrl: string) => async () => ({ ...hive.ctx, db: await openDatabase(databaseUrl) })
  async function backedUp(hive: Hive): Promise<string> {
    const path = newPath()
    await writeBackup(hive.ctx, path)
    return path
  }
  async function restored(hive: Hive, path: string, databaseUrl: string): Promise<void> {
    await restoreBackup(partsOf(hive, databaseUrl), path, openAt(hive, databaseUrl))
  }
  /** The same backup with other records, sealed as the server itself would. */
  async function altered(hive: Hive, path: string, alter: (records: BackupRecord[]) => BackupRecord[]) {
    const records: BackupRecord[] = []
    for await (const each of decodeRecords(openBackup(hive.ctx.keyring, createReadStream(path)))) records.push(each)
    async function* encoded() {
      for (const each of alter(records)) yield encodeRecord(each)
    }
    const changed = newPath()
    await writeFile(changed, sealBackup(hive.ctx.keyring, encoded()))
    return changed
  }

  test('that is killed after its commit leaves no session that lives again', async () => {
    await using hive = await open()
    await hive.person('ada')
    const url = await each.createUrl()
    const killed = () => Promise.reject(new Error('killed'))
    await assert.rejects(restoreBackup(partsOf(hive, url), await backedUp(hive), killed), /killed/)
    const db = await openDatabase(url)
    try {
      const sessions = await db.kysely.selectFrom('sessions').select(['revokedAt', 'revokedReason']).execute()
      assert.ok(sessions.length > 0)
      for (const session of sessions)
        assert.deepEqual(session, { revokedAt: hive.clock.now(), revokedReason: 'restored' })
    } finally {
      await db.close()
    }
  })

  test('goes over what one that was killed has left in the store', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await submitted(hive, ada, await hive.project(ada))
    const worker = await hive.worker()
    await leave(worker, await take(worker), { 'a.txt': Buffer.from('whole'), 'b.txt': Buffer.from('begun') })
    const [whole = '', begun = ''] = (
      await hive.ctx.db.kysely.selectFrom('artifacts').select('objectKey').execute()
    ).map(({ objectKey }) => objectKey ?? '')
    const parts = partsOf(hive, await each.createUrl())
    for (const [place, key] of [
      [whole.slice(0, 2), whole],
      ['drafts', begun],
    ] as const) {
      await mkdir(join(parts.config.store.folder, place), { recursive: true })
      await writeFile(join(parts.config.store.folder, place, key), 'half')
    }
    await restoreBackup(parts, await backedUp(hive), openAt(hive, parts.config.databaseUrl))
    const db = await openDatabase(parts.config.databaseUrl)
    try {
      const { epoch } = await db.kysely.selectFrom('identityEpoch').select('epoch').executeTakeFirstOrThrow()
      const before = await hive.ctx.db.kysely.selectFrom('identityEpoch').select('epoch').executeTakeFirstOrThrow()
      assert.equal(epoch, before.epoch + 1)
    } finally {
      await db.close()
    }
    const store = openStore(parts.config.store, hive.ctx)
    for (const key of [whole, begun]) assert.equal(await store.size(key), 5)
  })

  test('replaces what a server that was started and never set up has made, also in tables of which nothing was saved', async () => {
    await using hive = await open()
    await hive.person('ada')
    const path = await backedUp(hive)
    const url = await each.createUrl()
    const db = await openDatabase(url)
    try {
      const stray = { fingerprint: 'f', event: 'stray', count: 1, firstAt: 1, lastAt: 1 }
      await db.kysely.insertInto('faults').values(stray).execute()
    } finally {
      await db.close()
    }
    await restored(hive, path, url)
    const again = await openDatabase(url)
    try {
      assert.deepEqual(await again.kysely.selectFrom('faults').selectAll().execute(), [])
    } finally {
      await again.close()
    }
  })

  test('of an older version brings what this version adds, and is refused where a newer one has been', async () => {
    await using hive = await open()
    const known = (await readMigrations(migrationsDirectory)).length
    const older = `sqlite:${newPath()}`
    const db = await openDatabase(older)
    await migrate(db, { now: hive.clock.now, upTo: known - 1 })
    await db.close()
    const path = newPath()
    await writeBackup(partsOf(hive, older), path)
    await assert.rejects(restored(hive, path, await each.createUrl()), { code: 'database_not_empty' })
    const fresh = `sqlite:${newPath()}`
    await restored(hive, path, fresh)
    const brought = await openDatabase(fresh)
    try {
      assert.deepEqual(await migrate(brought, { now: hive.clock.now }), [])
    } finally {
      await brought.close()
    }
  })

  test('of records that are not what their end says, or go on after it, leaves no row', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await submitted(hive, ada, await hive.project(ada))
    const worker = await hive.worker()
    await leave(worker, await take(worker), { 'report.txt': Buffer.from('a report') })
    const path = await backedUp(hive)
    const url = await each.createUrl()
    const refused = async (reason: RegExp, alter: (records: BackupRecord[]) => BackupRecord[]) => {
      const changed = await altered(hive, path, alter)
      const isRefused = (error: unknown) => error instanceof BackupUnreadable && reason.test(error.message)
      await assert.rejects(restored(hive, changed, url), isRefused)
    }
    const isUsers = (each: BackupRecord) => each.kind === 'rows' && each.value.table === 'users'
    await refused(/less than it says/, (records) => records.filter((each) => !isUsers(each)))
    await refused(/follows its end/, (records) => [...records, ...records.filter(isUsers)])
    await refused(/before its end/, (records) => records.slice(0, -1))
    await refused(/no order/, ([header, ...others]) => [header, header, ...others] as BackupRecord[])
    const forged: BackupRecord = { kind: 'bytes', value: Buffer.from('a retort') }
    await refused(/not what was stored/, (records) => records.map((each) => (each.kind === 'bytes' ? forged : each)))
    await refused(/less than it says/, (records) =>
      records.filter(({ kind }) => !['object', 'bytes', 'end-of-object'].includes(kind)),
    )
    await restored(hive, await altered(hive, path, (records) => records), url)
  })

  test('keeps the audit log whole: it verifies there, and the server goes on with the same tree', async () => {
    await using hive = await open()
    await hive.person('ada')
    await record(hive, 600)
    const path = await backedUp(hive)
    const { audit } = await verifyBackup(hive.ctx, path)
    assert.deepEqual([audit.outcome, audit.leaves === audit.size, audit.leaves > 600], ['ok', true, true])
    const kept = await hive.ctx.db.kysely
      .selectFrom('auditCheckpoints')
      .select('note')
      .orderBy('size', 'desc')
      .executeTakeFirstOrThrow()
    for (const url of [`sqlite:${newPath()}`, await each.createUrl()]) {
      await restored(hive, path, url)
      const ctx = { ...hive.ctx, db: await openDatabase(url) }
      try {
        await sealAudit(ctx)
        const found = await verifyDatabase(ctx.db.kysely, { kept: [kept.note] })
        assert.deepEqual([found.outcome, found.findings], ['ok', []])
        assert.ok(found.size > audit.size, 'the restore is a leaf of its own')
      } finally {
        await ctx.db.close()
      }
    }
  })

  test('is told beforehand that the audit log in the backup was tampered with', async () => {
    await using hive = await open()
    await hive.person('ada')
    await record(hive, 20)
    await tamper(hive, `update audit_events set action = 'thing.other' where details like '%"number":7}'`)
    const { audit } = await verifyBackup(hive.ctx, await backedUp(hive))
    assert.equal(audit.outcome, 'tampered')
  })

  test('is told beforehand what no listed secret opens', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await hive.enrolTotp(ada)
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    await submitted(hive, ada, projectId)
    const sealedStore = openStore({ ...hive.ctx.config.store, isEncrypted: true }, hive.ctx)
    Object.assign(hive.ctx.store, sealedStore)
    const claim = await take(worker)
    await leave(worker, claim, { 'report.txt': Buffer.from('a report') })
    await complete(worker, claim)
    assert.equal((await verifyBackup(hive.ctx, await backedUp(hive))).unopenable, 0)
    const keyring = openKeyring([generateSecret()])
    const withKeys = newPath()
    await writeBackup({ ...hive.ctx, keyring }, withKeys)
    await assert.rejects(verifyBackup({ keyring, clock: hive.clock }, withKeys), /sealed under a secret/)
    // What the server makes anew by itself is not what is lost.
    await hive.ctx.db.kysely.deleteFrom('signingKeys').execute()
    await hive.ctx.db.kysely.deleteFrom('mailQueue').execute()
    await hive.ctx.db.kysely.deleteFrom('auditSubjects').execute()
    const path = newPath()
    await writeBackup({ ...hive.ctx, keyring }, path)
    // The authenticator's secret and the report.
    assert.equal((await verifyBackup({ keyring, clock: hive.clock }, path)).unopenable, 2)
  })
})

test('everything is in a backup but what is worth nothing later, or is built anew', () => {
  assert.deepEqual([...leftOut].sort(), ['migrations', 'mirrors', 'search_files', 'worker_nonces'])
})

test('records are the same however their bytes are cut', async () => {
  const rows = { table: 't', columns: ['a'], rows: [['x'.repeat(300)], [7], [null]] }
  const records: BackupRecord[] = [
    { kind: 'rows', value: rows },
    { kind: 'bytes', value: Buffer.alloc(0) },
    { kind: 'end-of-object', value: { bytes: 0, sha256: '' } },
  ]
  const whole = Buffer.concat(records.map(encodeRecord))
  for (const size of [1, 4, 5, 6, 100, whole.length]) {
    async function* cut() {
      for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size)
    }
    const found: BackupRecord[] = []
    for await (const each of decodeRecords(cut())) found.push(each)
    assert.deepEqual(found, records)
  }
})

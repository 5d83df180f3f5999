import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { leave } from '../../test/harness/files.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, getJob, submit, submitted, take } from '../../test/harness/jobs.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { openCopy } from '../platform/db/copy/read-copy.ts'
import { openDatabase } from '../platform/db/db.ts'
import { createFolderPlace } from '../platform/store/folder-place.ts'
import { BackupUnreadable, restoreBackup, verifyBackup, writeBackup } from './backup.ts'
import { leftOut } from './make-backup.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-backup-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let names = 0
const newPath = (): string => join(folder, `${++names}`)
const report = Buffer.from('a report with ümläuts\n'.repeat(5000))

/** Restoring ends with these. */
const changedByRestore = new Set([
  'sessions',
  'audit_events',
  'audit_pending',
  'audit_leaves',
  'audit_checkpoints',
  'identity_epoch',
])

describeHive('a backup', (open, each) => {
  async function furnish(hive: Hive) {
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const worker = await hive.worker()
    const done = await submitted(hive, ada, projectId)
    const claim = await take(worker)
    await leave(worker, claim, { 'report.txt': report })
    await complete(worker, claim)
    const waiting = await submitted(hive, ada, projectId)
    return { ada, projectId, done, waiting }
  }
  const back = (hive: Hive, path: string) => writeBackup(hive.ctx, path)
  const emptyStore = () => ({ folder: newPath(), isEncrypted: false })
  const restore = (hive: Hive, path: string, databaseUrl: string, store = emptyStore()) => {
    const { keyring, clock } = hive.ctx
    return restoreBackup({ config: { databaseUrl, store }, keyring, clock }, path, async () => ({
      ...hive.ctx,
      db: await openDatabase(databaseUrl),
    }))
  }
  async function contentOf(databaseUrl: string): Promise<Record<string, string[]>> {
    await using copy = await openCopy(databaseUrl)
    const content: Record<string, string[]> = {}
    for (const table of copy.tables) {
      if (leftOut.has(table.name) || changedByRestore.has(table.name)) continue
      const rows: string[] = []
      // The order of columns is the database's own.
      const order = table.columns.map((name, i) => ({ name, i })).sort((a, b) => (a.name < b.name ? -1 : 1))
      for await (const batch of copy.rows(table))
        for (const row of batch) rows.push(JSON.stringify(order.map(({ i }) => row[i])))
      content[table.name] = rows.sort()
    }
    return content
  }
  const rejectsAs = (reason: RegExp) => (error: unknown) =>
    error instanceof BackupUnreadable && reason.test(error.message)

  test('made while the server works is whole, and restores into either kind of database row for row', async () => {
    await using hive = await open()
    await furnish(hive)
    const path = newPath()
    const made = await back(hive, path)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.deepEqual([made.objects, made.objectBytes, made.ended], [1, report.length, 0])
    const before = await contentOf(hive.ctx.config.databaseUrl)

    const sqlite = `sqlite:${newPath()}`
    const store = emptyStore()
    await restore(hive, path, sqlite, store)
    assert.deepEqual(await contentOf(sqlite), before)
    const there: string[] = []
    for await (const { key } of createFolderPlace(store.folder, hive.clock).list()) there.push(key)
    assert.equal(there.length, 1)
    const chunks: Buffer[] = []
    for await (const chunk of (await createFolderPlace(store.folder, hive.clock).read(there[0] ?? '')) ?? [])
      chunks.push(chunk)
    assert.deepEqual(Buffer.concat(chunks), report)

    // And from there into one of this kind again.
    const again = newPath()
    await writeBackup({ ...hive.ctx, config: { databaseUrl: sqlite, store } }, again)
    const own = await each.createUrl()
    await restore(hive, again, own)
    assert.deepEqual(await contentOf(own), before)
  })

  test('restores a server that goes on: jobs run, tokens grow beyond any given out, and everybody signs in again', async () => {
    await using hive = await open()
    const { ada, waiting } = await furnish(hive)
    const path = newPath()
    await back(hive, path)
    // What happens after the backup is lost with the machine.
    const worker = await hive.worker()
    const lost = await take(worker)
    const url = await each.createUrl()
    await restore(hive, path, url)
    const db = await openDatabase(url)
    try {
      const sessions = await db.kysely
        .selectFrom('sessions')
        .select('revokedReason')
        .where('userId', '=', ada.userId)
        .execute()
      assert.ok(sessions.length > 0 && sessions.every(({ revokedReason }) => revokedReason === 'restored'))
      const [job] = await db.kysely.selectFrom('jobs').select('state').where('id', '=', waiting.id).execute()
      assert.equal(job?.state, 'queued')
      const workerId = (await db.kysely.selectFrom('workers').select('id').executeTakeFirstOrThrow()).id
      const attempt = { jobId: waiting.id, workerId, number: 1, claimedAt: 1 }
      const { token } = await db.kysely
        .insertInto('jobAttempts')
        .values(attempt)
        .returning('token')
        .executeTakeFirstOrThrow()
      assert.ok(token > lost.token)
      const audit = db.kysely.selectFrom('auditEvents').select('id').where('action', '=', 'system.restored')
      assert.equal((await audit.execute()).length, 1)
    } finally {
      await db.close()
    }
  })

  test('is one moment’s, however much is written meanwhile', async () => {
    await using hive = await open()
    const { ada, projectId } = await furnish(hive)
    await hive.ctx.db.kysely.updateTable('tiers').set({ waitingJobs: 1000 }).execute()
    const second = await hive.project(ada, 'second')
    let isWriting = true
    const writing = (async () => {
      while (isWriting) await Promise.all([submit(hive, ada, projectId), submit(hive, ada, second)])
    })()
    const path = newPath()
    await back(hive, path)
    isWriting = false
    await writing
    const url = `sqlite:${newPath()}`
    // References are checked by it.
    await restore(hive, path, url)
    const db = await openDatabase(url)
    try {
      const queued = await db.kysely
        .selectFrom('jobQueue')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      const counted = await db.kysely
        .selectFrom('queueCounters')
        .select((eb) => eb.fn.sum<number>('waiting').as('count'))
        .executeTakeFirstOrThrow()
      assert.equal(Number(queued.count), Number(counted.count))
    } finally {
      await db.close()
    }
    assert.equal((await getJob(hive, ada, (await submitted(hive, ada, second)).id)).state, 'queued')
  })

  test('that was changed, cut off or made under another secret is refused and leaves no row', async () => {
    await using hive = await open()
    await furnish(hive)
    const path = newPath()
    await back(hive, path)
    const good = readFileSync(path)
    const url = await each.createUrl()
    const tryOut = async (bytes: Buffer, reason: RegExp, keyring = hive.ctx.keyring) => {
      const changed = newPath()
      writeFileSync(changed, bytes)
      const parts = { keyring, clock: hive.clock, config: { databaseUrl: url, store: emptyStore() } }
      const openAfterwards = () => Promise.reject(new Error('it was restored'))
      await assert.rejects(restoreBackup(parts, changed, openAfterwards), rejectsAs(reason))
      await assert.rejects(verifyBackup(parts, changed), BackupUnreadable)
    }
    for (const at of [0, 20, 60, 200, good.length >> 1, good.length - 1]) {
      const changed = Buffer.from(good)
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      await tryOut(changed, /./)
    }
    for (const length of [0, 10, 100, 200, good.length >> 1, good.length - 1])
      await tryOut(good.subarray(0, length), /cut off/)
    await tryOut(Buffer.concat([good, Buffer.from('x')]), /./)
    await tryOut(good, /another secret/, openKeyring([generateSecret()]))
    const db = await openDatabase(url)
    try {
      assert.deepEqual(await db.kysely.selectFrom('users').select('id').execute(), [])
    } finally {
      await db.close()
    }
  })

  test('is not restored over a server that has accounts, nor written over another backup', async () => {
    await using hive = await open()
    await furnish(hive)
    const path = newPath()
    await back(hive, path)
    const first = readFileSync(path)
    await assert.rejects(back(hive, path), { code: 'EEXIST' })
    assert.deepEqual(readFileSync(path), first)
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.unfinished')),
      [],
    )
    const url = await each.createUrl()
    await restore(hive, path, url)
    await assert.rejects(restore(hive, path, url), { code: 'database_not_empty' })
  })

  test('that is verified has been restored, and its sealed keys open', async () => {
    await using hive = await open()
    await furnish(hive)
    const path = newPath()
    await back(hive, path)
    const found = await verifyBackup(hive.ctx, path)
    assert.ok(found.signingKeys >= 1)
    assert.equal(found.trailer.objects, 1)
    assert.equal(found.header.dialect, each.dialect)
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith('hivesync-verify-')),
      [],
    )
  })
})

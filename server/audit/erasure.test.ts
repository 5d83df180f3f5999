import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eraseMe } from '@hivesync/contracts/privacy.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { listOwnEvents } from './audit.ts'
import { listVerifiers, rewrapAuditKeys } from './keys.ts'
import { exportLog } from './log-export.ts'
import { sealAudit } from './sequence.ts'
import { record } from './test-log.ts'
import { verifyDatabase } from './verify-database.ts'
import { verifyExport } from './verify-export.ts'

const network = '198.51.100.0/24'
const asUser = (userId: string): Actor => ({
  ...nobody,
  kind: 'user',
  id: userId,
  userId,
  requestId: null,
  ip: network,
})

async function rowsOf(hive: Hive): Promise<string> {
  const db = hive.ctx.db.kysely
  const tables = ['auditEvents', 'auditPending', 'auditLeaves', 'auditSubjects'] as const
  return JSON.stringify(await Promise.all(tables.map((table) => db.selectFrom(table).selectAll().execute())))
}
async function addresses(hive: Hive, userId: string) {
  const events = await listOwnEvents(hive.ctx, hive.ctx.db.kysely, userId, '', 100)
  return events.filter(({ action }) => action === 'thing.made').map(({ ip }) => ip)
}
async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const piece of pieces) yield* piece.trimEnd().split('\n')
}

describeHive('what the audit log holds of a person', (open) => {
  test('lies there sealed, and only the person’s own key opens it', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await record(hive, 2, asUser(ada.userId))
    assert.doesNotMatch(await rowsOf(hive), /198\.51\.100/)
    assert.deepEqual(await addresses(hive, ada.userId), [network, network])
    // Somebody else's key, put in its place.
    const bob = await hive.person('bob')
    await record(hive, 1, asUser(bob.userId))
    const theirs = await hive.ctx.db.kysely
      .selectFrom('auditSubjects')
      .selectAll()
      .where('userId', '=', bob.userId)
      .execute()
    const { sealedKey } = theirs[0] ?? {}
    assert.ok(sealedKey)
    await hive.ctx.db.kysely.updateTable('auditSubjects').set({ sealedKey }).where('userId', '=', ada.userId).execute()
    assert.deepEqual(await addresses(hive, ada.userId), [null, null])
    assert.ok(hive.logged.some((line) => line.includes('audit_subject_unreadable')))
  })

  test('is gone when the account is erased, and every proof stays valid', async () => {
    await using hive = await open()
    await hive.admin()
    const ada = await hive.person('ada')
    await record(hive, 3, asUser(ada.userId))
    const before = await collect(linesOf(exportLog(hive.ctx.db.kysely)))
    // Recorded, and not yet sealed when the account goes.
    const headers = await hive.stepUp(ada, eraseMe, {})
    assert.equal((await hive.call(eraseMe, { token: ada.token, headers })).status, 204)
    assert.doesNotMatch(await rowsOf(hive), /"ip":"/)
    await sealAudit(hive.ctx)
    assert.deepEqual(await addresses(hive, ada.userId), [null, null, null])
    const keys = await hive.ctx.db.kysely.selectFrom('auditSubjects').select('userId').execute()
    assert.ok(keys.every(({ userId }) => userId !== ada.userId))
    assert.equal((await verifyDatabase(hive.ctx.db.kysely)).outcome, 'ok')
    const after = await collect(linesOf(exportLog(hive.ctx.db.kysely)))
    assert.deepEqual(after.slice(0, before.length - 1), before.slice(0, -1), 'what was exported before is the same now')
    const stream = linesOf(exportLog(hive.ctx.db.kysely))
    assert.equal((await verifyExport(stream, await listVerifiers(hive.ctx.db.kysely))).outcome, 'ok')
  })

  test('gets no new key after the erasure, whatever is still recorded', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const headers = await hive.stepUp(ada, eraseMe, {})
    assert.equal((await hive.call(eraseMe, { token: ada.token, headers })).status, 204)
    await record(hive, 1, asUser(ada.userId))
    assert.doesNotMatch(await rowsOf(hive), /198\.51\.100/)
    assert.deepEqual(await addresses(hive, ada.userId), [null])
    assert.equal((await verifyDatabase(hive.ctx.db.kysely)).outcome, 'ok')
  })

  test('and the key of the log outlive a change of the secret, once they are sealed anew', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    await record(hive, 1, asUser(ada.userId))
    const [older, newer] = [hive.ctx.keyring, generateSecret()]
    const former = hive.ctx.db.kysely.selectFrom('signingKeys').selectAll().where('purpose', '=', 'audit-checkpoint')
    const [key] = await former.execute()
    assert.ok(key?.sealedPrivateKey.startsWith(`v1.${older.currentKeyId}.`))
    const both = { ...hive.ctx, keyring: { ...openKeyring([newer]), open: older.open } }
    await rewrapAuditKeys(both)
    const alone = { ...hive.ctx, keyring: openKeyring([newer]) }
    const events = await listOwnEvents(alone, alone.db.kysely, ada.userId, '', 100)
    assert.equal(events.at(-1)?.ip, network)
    await record({ ...hive, ctx: alone }, 1)
    const keys = await alone.db.kysely.selectFrom('auditKeys').selectAll().execute()
    assert.equal(keys.length, 1, 'the same key signs')
  })

  test('a key of the log that cannot be opened is replaced, and the log says so', async () => {
    await using hive = await open()
    await record(hive, 1)
    const ctx = { ...hive.ctx, keyring: openKeyring([generateSecret()]) }
    await record({ ...hive, ctx }, 1)
    await sealAudit(ctx)
    const added = hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['targetId', 'details'])
      .where('action', '=', 'audit_key.added')
    const verifiers = await listVerifiers(hive.ctx.db.kysely)
    assert.deepEqual(
      (await added.orderBy('id').execute()).map(({ targetId }) => targetId),
      verifiers.map(({ id }) => id),
    )
    assert.equal(verifiers.length, 2)
    assert.equal((await verifyDatabase(hive.ctx.db.kysely)).outcome, 'ok')
  })
})

async function collect(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = []
  for await (const each of lines) all.push(each)
  return all
}

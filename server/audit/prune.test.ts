import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getAuditConsistency, getAuditProof } from '@hivesync/contracts/audit.ts'
import { isConsistent } from '@hivesync/protocol/merkle.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { listVerifiers } from './keys.ts'
import { exportLog } from './log-export.ts'
import { dayMs, pruneAudit, pruneByRetention } from './prune.ts'
import { findFirstSeq, findLastCheckpoint } from './queries.ts'
import { sealAudit } from './sequence.ts'
import { record, tamper } from './test-log.ts'
import { verifyDatabase } from './verify-database.ts'
import { verifyExport } from './verify-export.ts'

const firstOf = async (hive: Hive) => (await findFirstSeq(hive.ctx.db.kysely)) ?? 0

/** 600 leaves of long ago, and 100 of now. */
async function age(hive: Hive): Promise<void> {
  await record(hive, 600)
  hive.clock.advance(500 * dayMs)
  await record(hive, 100)
}
const cutoff = (hive: Hive) => hive.ctx.clock.now() - 400 * dayMs

describeHive('pruning the audit log', (open) => {
  test('takes whole segments that are old, says so in the log, and what is left proves itself', async () => {
    await using hive = await open()
    await age(hive)
    const before = await findLastCheckpoint(hive.ctx.db.kysely)
    assert.deepEqual(await pruneAudit(hive.ctx, cutoff(hive)), { leaves: 512, first: 512 })
    assert.equal(await firstOf(hive), 512)
    await sealAudit(hive.ctx)
    const kept = [before?.note ?? '']
    const verified = await verifyDatabase(hive.ctx.db.kysely, { kept })
    assert.deepEqual([verified.outcome, verified.findings], ['ok', []])
    const events = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select('details')
      .where('action', '=', 'audit.pruned')
      .execute()
    assert.deepEqual(events, [{ details: '{"before":512,"leaves":512}' }])
    assert.deepEqual(await pruneAudit(hive.ctx, cutoff(hive)), { leaves: 0, first: 512 }, 'nothing is left to prune')
    const lines = async function* () {
      for await (const piece of exportLog(hive.ctx.db.kysely)) yield piece.trimEnd()
    }
    const exported = await verifyExport(lines(), await listVerifiers(hive.ctx.db.kysely), kept)
    assert.deepEqual([exported.outcome, exported.findings], ['ok', []])
  })

  test('keeps the proofs of what stays, and those from before', async () => {
    await using hive = await open()
    await hive.admin()
    await age(hive)
    const { token } = await hive.logInAgain('queen')
    const [older] = await hive.ctx.db.kysely.selectFrom('auditCheckpoints').selectAll().orderBy('size').execute()
    await pruneAudit(hive.ctx, cutoff(hive))
    await sealAudit(hive.ctx)
    const last = await findLastCheckpoint(hive.ctx.db.kysely)
    assert.ok(older && last)
    const query = { from: String(older.size), to: String(last.size) }
    const { body } = await hive.call(getAuditConsistency, { token, query })
    const root = (row: { root: string }) => Buffer.from(row.root, 'base64')
    const proof = body.hashes.map((hash) => Buffer.from(hash, 'base64'))
    assert.ok(isConsistent({ from: older.size, to: last.size, fromRoot: root(older), toRoot: root(last), proof }))
    const young = await hive.ctx.db.kysely.selectFrom('auditLeaves').select('eventId').where('seq', '=', 650).execute()
    const proved = await hive.call(getAuditProof, { token, query: { eventId: young[0]?.eventId ?? '' } })
    assert.equal(proved.status, 200)
    const gone = await hive.call(getAuditConsistency, { token, query: { from: '100', to: String(last.size) } })
    assert.equal(gone.problem.code, 'audit_size_unknown', 'between leaves that are gone')
  })

  test('takes nothing that is young, nothing that is not signed, and nothing that a sink still waits for', async () => {
    await using hive = await open()
    await age(hive)
    assert.equal((await pruneAudit(hive.ctx, 0)).leaves, 0)
    const shipping = { sink: 'file', nextSeq: 300, nextCheckpoint: 0, owner: null, leaseUntil: 0 }
    await hive.ctx.db.kysely.insertInto('auditShipping').values(shipping).execute()
    assert.deepEqual(await pruneAudit(hive.ctx, cutoff(hive)), { leaves: 256, first: 256 })
    await hive.ctx.db.kysely.deleteFrom('auditShipping').execute()
    await tamper(hive, 'delete from audit_checkpoints')
    assert.equal((await pruneAudit(hive.ctx, cutoff(hive))).leaves, 0)
  })

  test('clears away no evidence', async () => {
    await using hive = await open()
    await age(hive)
    await tamper(
      hive,
      `update audit_events set action = 'thing.unmade' where id = (select event_id from audit_leaves where seq = 300)`,
    )
    await assert.rejects(pruneAudit(hive.ctx, cutoff(hive)), { name: 'AuditBroken' })
    assert.equal(await firstOf(hive), 0)
    assert.equal((await verifyDatabase(hive.ctx.db.kysely)).findings[0]?.seq, 300)
  })

  test('that nobody ordered is a finding', async () => {
    await using hive = await open()
    await age(hive)
    await tamper(hive, 'delete from audit_events where id in (select event_id from audit_leaves where seq < 256)')
    await tamper(hive, 'delete from audit_leaves where seq < 256')
    const { outcome, findings } = await verifyDatabase(hive.ctx.db.kysely)
    assert.equal(outcome, 'tampered')
    assert.match(findings[0]?.what ?? '', /no event says that they were pruned/)
  })

  test('is the background’s only where it is asked for, and only on SQLite', async () => {
    await using hive = await open()
    await age(hive)
    await pruneByRetention(hive.ctx)
    assert.equal(await firstOf(hive), 0, 'nothing is pruned unless it is asked for')
    const audit = { ...hive.ctx.config.audit, retentionDays: 400 }
    await pruneByRetention({ ...hive.ctx, config: { ...hive.ctx.config, audit } })
    assert.equal(await firstOf(hive), hive.ctx.db.dialect === 'sqlite' ? 512 : 0)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalJson } from '@hivesync/protocol/canonical-json.ts'
import { createCompactRange, leafHash } from '@hivesync/protocol/merkle.ts'
import { openCheckpoint } from '@hivesync/protocol/signed-note.ts'
import fc from 'fast-check'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { isoTime } from '../platform/clock.ts'
import { openDatabase } from '../platform/db/db.ts'
import { recordAudit } from './audit.ts'
import { listVerifiers } from './keys.ts'
import { type LeafEvent, leafText } from './leaf.ts'
import { countLeaves, countPending, listCheckpoints, listLeaves } from './queries.ts'
import { checkpointEveryMs, sealAudit, sequenceAudit } from './sequence.ts'
import { guest, record, tamper } from './test-log.ts'
import { readRoot } from './tree.ts'
import { verifyDatabase } from './verify-database.ts'

/** The same server after a restart: what the process remembered of the tree is gone. */
const restarted = (hive: Hive): Hive => ({ ...hive, ctx: { ...hive.ctx, db: { ...hive.ctx.db } } })
const leavesOf = (hive: Hive) => listLeaves(hive.ctx.db.kysely, 0, 10_000)
const sizesOf = async (hive: Hive) => (await listCheckpoints(hive.ctx.db.kysely, 0, 100)).map(({ size }) => size)

test('what a leaf hashes is the RFC 8785 canonical JSON of the event', () => {
  const text = fc.string({ unit: 'grapheme' })
  const event: fc.Arbitrary<LeafEvent> = fc.record({
    id: text,
    at: fc.integer({ min: 0, max: 8.64e15 }),
    actorKind: text,
    actorId: fc.option(text),
    teamId: fc.option(text),
    projectId: fc.option(text),
    action: text,
    targetKind: fc.option(text),
    targetId: fc.option(text),
    outcome: fc.constantFrom('succeeded', 'refused'),
    requestId: fc.option(text),
    ip: fc.option(text),
    details: text,
    subject: fc.option(text),
    sealed: fc.option(text),
  })
  fc.assert(
    fc.property(event, (each) => {
      assert.equal(leafText(each), canonicalJson({ ...each, at: isoTime(each.at), v: 1 }))
    }),
  )
})

describeHive('the sequencer', (open, { dialect }) => {
  test('makes one leaf of each event, numbers them without a gap and signs their root', async () => {
    await using hive = await open()
    await record(hive, 700)
    const db = hive.ctx.db.kysely
    const leaves = await leavesOf(hive)
    assert.deepEqual(
      leaves.map(({ seq }) => seq),
      leaves.map((_, index) => index),
    )
    assert.equal(new Set(leaves.map(({ eventId }) => eventId)).size, leaves.length)
    const tree = createCompactRange()
    for (const { event, hash } of leaves) {
      const computed = leafHash(leafText(event as LeafEvent))
      assert.equal(hash, computed.toString('base64'))
      tree.append(computed)
    }
    const [checkpoint] = await listCheckpoints(db, 0, 1)
    assert.deepEqual(openCheckpoint(checkpoint?.note ?? '', await listVerifiers(db)).size, 700)
    assert.deepEqual(await readRoot(db, leaves.length), tree.root())
    // The key's own event waits: it came with the checkpoint.
    assert.equal(await countPending(db), 1)
  })

  test('goes on with the tree that is stored, wherever it was left', async () => {
    await using hive = await open()
    for (const count of [1, 254, 1, 1, 255, 513]) await record(restarted(hive), count)
    const { outcome, size } = await verifyDatabase(hive.ctx.db.kysely)
    assert.deepEqual([outcome, size], ['ok', 1026])
  })

  test('takes every event once, however many run at once', async () => {
    await using hive = await open()
    const other =
      dialect === 'postgres'
        ? await openDatabase(hive.ctx.config.databaseUrl)
        : { ...hive.ctx.db, close: async () => {} }
    const contexts = [hive.ctx, { ...hive.ctx, db: other }]
    await hive.ctx.db.transaction(async (tx) => {
      for (let index = 0; index < 60; index++) await recordAudit(hive.ctx, tx, guest, { action: 'thing.made' })
    })
    const late = hive.ctx.db.transaction((tx) => recordAudit(hive.ctx, tx, guest, { action: 'thing.late' }))
    await Promise.all([...contexts, ...contexts].map((ctx) => sealAudit(ctx)))
    await late
    await Promise.all([...contexts, ...contexts].map((ctx) => sealAudit(ctx)))
    await other.close()
    const { outcome, size, findings } = await verifyDatabase(hive.ctx.db.kysely)
    assert.deepEqual([outcome, size, findings], ['ok', 62, []])
  })

  test('makes no leaf of what was not committed', async () => {
    await using hive = await open()
    const failing = hive.ctx.db.transaction(async (tx) => {
      await recordAudit(hive.ctx, tx, guest, { action: 'thing.made' })
      throw new Error('the disk is full')
    })
    await assert.rejects(failing, /the disk is full/)
    await sealAudit(hive.ctx)
    assert.equal(await countLeaves(hive.ctx.db.kysely), 0)
    assert.equal(
      (await verifyDatabase(hive.ctx.db.kysely)).outcome,
      'ok',
      'an empty log is one that nobody has touched',
    )
  })

  test('signs every ten seconds where something happened, and every thousand leaves', async () => {
    await using hive = await open()
    const one = () => hive.ctx.db.transaction((tx) => recordAudit(hive.ctx, tx, guest, { action: 'thing.made' }))
    await one()
    await sequenceAudit(hive.ctx)
    assert.deepEqual(await sizesOf(hive), [1], 'the first at once')
    await sequenceAudit(hive.ctx)
    await one()
    await sequenceAudit(hive.ctx)
    assert.deepEqual(await sizesOf(hive), [1])
    hive.clock.advance(checkpointEveryMs)
    await sequenceAudit(hive.ctx)
    assert.deepEqual(await sizesOf(hive), [1, 3])
    hive.clock.advance(checkpointEveryMs)
    await sequenceAudit(hive.ctx)
    assert.deepEqual(await sizesOf(hive), [1, 3], 'nothing new, nothing to sign')
    await one()
    await sequenceAudit(hive.ctx)
    await hive.ctx.db.transaction(async (tx) => {
      for (let index = 0; index < 1100; index++) await recordAudit(hive.ctx, tx, guest, { action: 'thing.made' })
    })
    await sequenceAudit(hive.ctx)
    assert.deepEqual(await sizesOf(hive), [1, 3, 4, 1004])
  })

  const forgeries = {
    'an early leaf was changed': `update audit_leaves set hash = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' where seq = 299`,
    'a subtree was changed': `update audit_nodes set hash = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' where position = 0`,
    'a subtree is gone': 'delete from audit_nodes where position = 0',
    'its end was cut off': 'delete from audit_leaves where seq >= 290',
    'the last checkpoint was exchanged for a forged one': `update audit_checkpoints set root = 'x', note = replace(note, '3', '4')`,
  }
  for (const [what, sql] of Object.entries(forgeries)) {
    test(`signs nothing more when ${what}`, async () => {
      await using hive = await open()
      await record(hive, 300)
      await tamper(hive, sql)
      const after = restarted(hive)
      await assert.rejects(record(after, 5), (error: Error) => /AuditBroken|NoteRefused/.test(error.name))
      assert.deepEqual(await sizesOf(hive), [300])
      await assert.rejects(sealAudit(after.ctx), (error: Error) => /AuditBroken|NoteRefused/.test(error.name))
    })
  }

  test('signs nothing below what it has signed, though the checkpoint is gone too', async () => {
    await using hive = await open()
    await record(hive, 20)
    await tamper(hive, 'delete from audit_checkpoints')
    await tamper(hive, 'delete from audit_leaves where seq >= 5')
    await assert.rejects(sealAudit(hive.ctx), { name: 'AuditBroken' })
    assert.deepEqual(await sizesOf(hive), [])
  })

  test('is kept from changing an event or a leaf by the database itself', async () => {
    await using hive = await open()
    await record(hive, 3)
    const { kysely } = hive.ctx.db
    await assert.rejects(kysely.updateTable('auditEvents').set({ action: 'x' }).execute(), /never changed/)
    await assert.rejects(kysely.updateTable('auditLeaves').set({ hash: 'x' }).execute(), /never changed/)
  })
})

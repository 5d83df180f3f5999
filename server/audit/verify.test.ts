import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { leafHash } from '@hivesync/protocol/merkle.ts'
import { noteVerifier } from '@hivesync/protocol/signed-note.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { listVerifiers } from './keys.ts'
import { leafText } from './leaf.ts'
import { exportLog } from './log-export.ts'
import { findLastCheckpoint, listLeaves } from './queries.ts'
import { record, tamper } from './test-log.ts'
import { verifyDatabase } from './verify-database.ts'
import { verifyExport } from './verify-export.ts'

/** What somebody with the whole database can do; `seq` is the first leaf the verification must name, and `alone` whether it finds it without a checkpoint kept elsewhere. */
const tamperings: { name: string; sql: string; seq: number | null; alone?: false }[] = [
  { name: 'an event was changed', sql: `update audit_events set action = 'thing.unmade' where id = EVENT(7)`, seq: 7 },
  { name: 'the time of an event was changed', sql: 'update audit_events set at = at + 1 where id = EVENT(7)', seq: 7 },
  { name: 'a detail was changed', sql: `update audit_events set details = '{"number":8}' where id = EVENT(7)`, seq: 7 },
  { name: 'an event was removed', sql: 'delete from audit_events where id = EVENT(7)', seq: 7 },
  { name: 'a leaf was removed', sql: 'delete from audit_leaves where seq = 7', seq: 7 },
  { name: 'the first leaf was removed', sql: 'delete from audit_leaves where seq = 0', seq: 0 },
  {
    name: 'two leaves were exchanged',
    sql: `update audit_leaves set seq = case seq when 7 then -8 else -7 end where seq in (7, 8);
      update audit_leaves set seq = -seq where seq < 0`,
    seq: 0,
  },
  {
    name: 'leaves were renumbered over a hole',
    sql: `delete from audit_leaves where seq = 7;
      update audit_leaves set seq = -seq where seq > 7; update audit_leaves set seq = -seq - 1 where seq < 0`,
    seq: 0,
  },
  { name: 'the hash of a leaf was changed', sql: `update audit_leaves set hash = 'AAAA' where seq = 7`, seq: 7 },
  {
    name: 'the hash of a subtree was changed',
    sql: `update audit_nodes set hash = 'AAAA' where position = 1`,
    seq: 256,
  },
  { name: 'a subtree was removed', sql: 'delete from audit_nodes where position = 1', seq: 256 },
  {
    name: 'an event was put in without a leaf',
    sql: `insert into audit_events (id, at, actor_kind, action, outcome, details)
      values ('01890000-0000-7000-8000-000000000000', 1, 'system', 'thing.made', 'succeeded', '{}')`,
    seq: null,
  },
  {
    name: 'events were put in with a leaf at the end',
    sql: `insert into audit_leaves (seq, event_id, hash) values (601, 'x', 'AAAA')`,
    seq: 601,
  },
  {
    name: 'an event that waited for its leaf was removed',
    sql: `insert into audit_pending (event_id) values ('gone')`,
    seq: null,
  },
  {
    name: 'an event waits for a second leaf',
    sql: 'insert into audit_pending (event_id) select event_id from audit_leaves where seq = 3',
    seq: null,
  },
  { name: 'the log was emptied', sql: 'delete from audit_leaves; delete from audit_events', seq: 0 },
  {
    name: 'the signature of a checkpoint was changed',
    sql: `update audit_checkpoints set note = replace(note, '=', 'A') where size = 300`,
    seq: 0,
  },
  {
    name: 'the size of a checkpoint was changed',
    sql: 'update audit_checkpoints set size = 299 where size = 300',
    seq: 0,
  },
  {
    name: 'the end was cut off',
    sql: 'delete from audit_leaves where seq >= 550; delete from audit_events where not exists (select 1 from audit_leaves where event_id = id)',
    seq: 550,
  },
  {
    name: 'the end and its checkpoints were cut off',
    sql: `delete from audit_leaves where seq >= 300; delete from audit_events where not exists (select 1 from audit_leaves where event_id = id);
      delete from audit_checkpoints where size > 300; delete from audit_nodes where position = 1`,
    seq: 300,
    alone: false,
  },
]

describeHive('the verification', (open, { dialect }) => {
  let hive: Hive
  let kept: string
  before(async () => {
    hive = await open()
    await record(hive, 300)
    await record(hive, 300)
    kept = (await findLastCheckpoint(hive.ctx.db.kysely))?.note ?? ''
  })
  after(() => hive[Symbol.asyncDispose]())

  /** Puts the log back as it was before the tampering. */
  async function restoring<T>(work: () => Promise<T>): Promise<T> {
    const tables = ['audit_events', 'audit_leaves', 'audit_nodes', 'audit_checkpoints', 'audit_pending', 'audit_keys']
    for (const table of tables) await hive.ctx.db.runScript(`create table copy_${table} as select * from ${table}`)
    try {
      return await work()
    } finally {
      for (const table of tables)
        await hive.ctx.db.runScript(
          `delete from ${table}; insert into ${table} select * from copy_${table}; drop table copy_${table}`,
        )
    }
  }
  const verify = (checkpoint?: string) =>
    verifyDatabase(hive.ctx.db.kysely, checkpoint === undefined ? {} : { kept: [checkpoint] })

  test('finds nothing in a log that nobody has touched', async () => {
    const { outcome, findings, notes, ...figures } = await verify(kept)
    assert.deepEqual([outcome, findings, notes], ['ok', [], []])
    assert.deepEqual(figures, { leaves: 601, size: 601, checkpoints: 3, signedSize: 601 })
  })

  for (const { name, sql, seq, alone } of tamperings) {
    test(`finds that ${name}`, async () => {
      await restoring(async () => {
        for (const statement of sql.split(';'))
          await tamper(hive, statement.replace(/EVENT\((\d+)\)/g, '(select event_id from audit_leaves where seq = $1)'))
        const found = await verify(alone === false ? kept : undefined)
        assert.equal(found.outcome, 'tampered', JSON.stringify(found))
        assert.equal(found.findings[0]?.seq ?? null, seq, JSON.stringify(found.findings))
        if (alone === false) assert.equal((await verify()).outcome, 'ok', 'only what was kept elsewhere can show it')
      })
    })
  }

  test('finds a history that was rewritten with all its hashes, by the checkpoints', async () => {
    await restoring(async () => {
      const [leaf] = await listLeaves(hive.ctx.db.kysely, 7, 8)
      assert.ok(leaf?.event)
      const hash = leafHash(leafText({ ...leaf.event, action: 'thing.unmade' })).toString('base64')
      await tamper(hive, `update audit_events set action = 'thing.unmade' where id = '${leaf.eventId}'`)
      await tamper(hive, `update audit_leaves set hash = '${hash}' where seq = 7`)
      await tamper(hive, 'delete from audit_nodes')
      const found = await verify()
      assert.deepEqual([found.outcome, found.findings[0]?.seq], ['tampered', 0])
      assert.match(found.findings.map(({ what }) => what).join(), /are not those that were signed/)
    })
  })

  test('does not trust a key that was put into the database, when it is told which to trust', async () => {
    const [own] = await listVerifiers(hive.ctx.db.kysely)
    const other = noteVerifier(own?.name ?? '', generateEncodedKeyPair().publicKey)
    const found = await verifyDatabase(hive.ctx.db.kysely, { trusted: [other] })
    assert.equal(found.outcome, 'tampered')
    assert.match(found.findings[0]?.what ?? '', /no known key has signed it/)
  })

  test('cannot judge leaves that nothing signed covers', async () => {
    await restoring(async () => {
      await tamper(hive, 'delete from audit_checkpoints')
      assert.equal((await verify()).outcome, 'unjudged')
    })
  })

  test(`reads an export alone, and finds every change in it (${dialect})`, async () => {
    const lines = await linesOf(exportLog(hive.ctx.db.kysely))
    const trusted = await listVerifiers(hive.ctx.db.kysely)
    const judge = async (changed: string[], checkpoints: string[] = []) =>
      verifyExport(asStream(changed), trusted, checkpoints)
    const whole = await judge(lines, [kept])
    assert.deepEqual([whole.outcome, whole.size, whole.checkpoints, whole.findings], ['ok', 601, 3, []])

    const at = lines.findIndex((each) => each.startsWith('{"seq":7,'))
    const changes: Record<string, { lines: string[]; seq: number | null }> = {
      changed: { lines: lines.with(at, (lines[at] ?? '').replace('thing.made', 'thing.unmade')), seq: 0 },
      removed: { lines: lines.toSpliced(at, 1), seq: 7 },
      doubled: { lines: lines.toSpliced(at, 0, lines[at] ?? ''), seq: 7 },
      exchanged: { lines: lines.with(at, lines[at + 1] ?? '').with(at + 1, lines[at] ?? ''), seq: 7 },
      renumbered: { lines: lines.with(at, (lines[at] ?? '').replace('{"seq":7', '{"seq":70')), seq: 7 },
      strange: { lines: lines.toSpliced(at, 0, '{"something":"else"}'), seq: 7 },
    }
    for (const [name, change] of Object.entries(changes)) {
      const found = await judge(change.lines)
      assert.deepEqual([found.outcome, found.findings[0]?.seq], ['tampered', change.seq], name)
    }
    assert.equal((await judge(lines.slice(0, -1))).outcome, 'unjudged', 'without its last line')
    assert.equal((await judge([])).outcome, 'unjudged', 'empty')
    assert.equal((await judge(['{}'])).outcome, 'unjudged', 'not an export')
    assert.equal((await verifyExport(asStream(lines), [])).outcome, 'tampered', 'no key that is trusted')
    const cut = [
      ...lines.slice(
        0,
        lines.findIndex((each) => each.startsWith('{"seq":300,')),
      ),
      '{"type":"end","size":300}',
    ]
    assert.equal((await judge(cut)).outcome, 'ok', 'alone a cut export looks whole')
    assert.equal((await judge(cut, [kept])).outcome, 'tampered', 'and the checkpoint that was kept shows it')
  })
})

async function linesOf(pieces: AsyncIterable<string>): Promise<string[]> {
  let whole = ''
  for await (const piece of pieces) whole += piece
  return whole.trimEnd().split('\n')
}

async function* asStream(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}

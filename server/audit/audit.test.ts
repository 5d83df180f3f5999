import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive } from '../../test/harness/hive.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { enqueueEvent, recordAudit } from './audit.ts'

const actor: Actor = { ...nobody, kind: 'user', id: 'u-1', userId: 'u-1', requestId: 'request-1', ip: '203.0.113.0/24' }

describeHive('an act', (open) => {
  test('is remembered with who, what, when and from where', async () => {
    await using hive = await open()
    const { ctx } = hive
    const act = {
      action: 'thing.made',
      target: { kind: 'thing', id: 't-1' },
      teamId: 'team',
      details: { count: 2, name: "a'b" },
    }
    await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
    const [row, ...more] = await ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()
    assert.equal(more.length, 0)
    assert.match(row?.id ?? '', /^[0-9a-f-]{36}$/)
    assert.deepEqual(
      { ...row, id: '' },
      {
        id: '',
        at: hive.clock.now(),
        actorKind: 'user',
        actorId: 'u-1',
        teamId: 'team',
        projectId: null,
        action: 'thing.made',
        targetKind: 'thing',
        targetId: 't-1',
        outcome: 'succeeded',
        requestId: 'request-1',
        ip: null,
        details: '{"count":2,"name":"a\'b"}',
      },
    )
  })

  test('that did not happen is neither remembered nor told', async () => {
    await using hive = await open()
    const { ctx } = hive
    const failing = ctx.db.transaction(async (tx) => {
      await recordAudit(ctx, tx, actor, { action: 'thing.made' })
      await enqueueEvent(ctx, tx, { topic: 'thing.made', teamId: null, payload: {} })
      throw new Error('the disk is full')
    })
    await assert.rejects(failing, /the disk is full/)
    assert.deepEqual(await ctx.db.kysely.selectFrom('auditEvents').select('id').execute(), [])
    assert.deepEqual(await ctx.db.kysely.selectFrom('outbox').select('seq').execute(), [])
  })

  test('is told in the order in which it was put into the outbox', async () => {
    await using hive = await open()
    const { ctx } = hive
    await ctx.db.transaction(async (tx) => {
      for (const n of [1, 2, 3])
        await enqueueEvent(ctx, tx, { topic: 'thing.made', teamId: 'team', payload: { n, text: 'é\n' } })
    })
    const rows = await ctx.db.kysely.selectFrom('outbox').selectAll().orderBy('seq').execute()
    assert.deepEqual(
      rows.map(({ payload }) => JSON.parse(payload).n),
      [1, 2, 3],
    )
    assert.deepEqual([rows[0]?.topic, rows[0]?.teamId, rows[0]?.at], ['thing.made', 'team', hive.clock.now()])
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { legacyIngest } from '@hivesync/contracts/compat.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'

async function refusals(hive: Hive) {
  const rows = await hive.ctx.db.kysely
    .selectFrom('auditEvents')
    .select(['targetId', 'ip', 'outcome', 'details'])
    .where('action', '=', 'request.refused')
    .orderBy('id')
    .execute()
  return rows.map(({ details, ...row }) => ({ ...row, ...JSON.parse(details) }))
}

describeHive('refused requests', (open) => {
  test('an ingest without a token is 401, and in the audit log without the address of a person', async () => {
    await using hive = await open()
    const body = 'https://git.example.net/project.git'
    assert.equal((await hive.call(legacyIngest, { body })).status, 401)
    await hive.refusals.settled()
    const refused = {
      targetId: 'legacyIngest',
      ip: '127.0.0.0/24',
      outcome: 'refused',
      code: 'authentication_required',
      count: 1,
    }
    assert.deepEqual(await refusals(hive), [refused])
  })

  test('a flood of them is two rows: the first, and the number of the rest', async () => {
    await using hive = await open()
    for (let i = 0; i < 30; i++) await hive.call(legacyIngest, { body: 'x', token: `guess-${i}` })
    await hive.refusals.settled()
    assert.deepEqual(
      (await refusals(hive)).map(({ code, count }) => [code, count]),
      [
        ['invalid_token', 1],
        ['invalid_token', 29],
      ],
    )
  })

  test('from more sources than are counted apart, the others share a row', async () => {
    await using hive = await open()
    for (let i = 0; i < 1200; i++) {
      const ip = `10.${i >> 8}.${i & 255}.0/24`
      hive.refusals.note({ operation: 'legacyIngest', code: 'invalid_token', ip, requestId: 'r' })
    }
    await hive.refusals.settled()
    const rows = await refusals(hive)
    assert.equal(rows.length, 1002)
    assert.equal(
      rows.filter(({ ip }) => ip === 'elsewhere').reduce((sum, { count }) => sum + count, 0),
      200,
    )
  })
})

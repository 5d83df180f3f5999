import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { system } from './actor.ts'
import { createBus } from './bus.ts'
import { hearIdentityNews } from './identity-news.ts'
import { revoking } from './revocation.ts'

/** Another process on the same database, and how often it was told. */
function replicaOf({ ctx }: Hive) {
  const replica = { ...ctx, bus: createBus() }
  const heard = { count: 0 }
  replica.bus.subscribe('identity', () => {
    heard.count++
  })
  return { replica, heard }
}

describeHive('news of other processes’ revocations', (open) => {
  test('is told once per look at which there is any, and on the first look, before which nothing was heard', async () => {
    await using hive = await open()
    const { replica, heard } = replicaOf(hive)
    const revoke = () => revoking(hive.ctx, system, (_tx, revokeIn) => revokeIn({ users: [] }))
    await revoke()
    for (let look = 0; look < 3; look++) await hearIdentityNews(replica)
    assert.equal(heard.count, 1)
    await Promise.all([revoke(), revoke(), revoke()])
    for (let look = 0; look < 3; look++) await hearIdentityNews(replica)
    assert.equal(heard.count, 2)
    await revoking(hive.ctx, system, async () => {})
    await hearIdentityNews(replica)
    assert.equal(heard.count, 2, 'a change that took nothing away is no news')
  })

  test('a revocation that was undone with its transaction is no news, and tells nobody here', async () => {
    await using hive = await open()
    const { replica, heard } = replicaOf(hive)
    await hearIdentityNews(replica)
    let told = 0
    hive.ctx.bus.subscribe('identity', () => told++)
    const failing = revoking(hive.ctx, system, async (_tx, revokeIn) => {
      await revokeIn({ users: [] })
      throw new Error('undone')
    })
    await assert.rejects(failing, /undone/)
    await hearIdentityNews(replica)
    assert.deepEqual([told, heard.count], [0, 1])
  })

  test('where the database does not answer, every look tells: whatever is open proves its rights anew, and cannot', async () => {
    await using hive = await open()
    const { replica, heard } = replicaOf(hive)
    await hearIdentityNews(replica)
    await hive.ctx.db.kysely.schema.alterTable('identity_epoch').renameTo('moved').execute()
    for (let look = 0; look < 2; look++) await assert.rejects(hearIdentityNews(replica))
    assert.equal(heard.count, 3)
  })
})

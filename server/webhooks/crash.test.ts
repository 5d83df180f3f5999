import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { enqueueEvent } from '../audit/audit.ts'
import type { Clock } from '../platform/clock.ts'
import { parseConfig } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { onEachDatabase } from '../platform/db/test-databases.ts'
import { createLogger } from '../platform/logger.ts'
import { openContext } from '../platform/open-context.ts'
import { issueKey } from './keys.ts'
import { insertWebhook } from './queries.ts'
import { listening } from './test-webhooks.ts'
import { sendWebhooks, webhooksSettled } from './webhooks.ts'

onEachDatabase((_open, { createUrl }) => {
  test('killed between sending and writing it down, a delivery is made again under the same id, once the lease has run out', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'hivesync-crash-'))
    const settings = {
      HIVESYNC_DATA: dataDir,
      HIVESYNC_DATABASE_URL: await createUrl(),
      HIVESYNC_SECRET: generateSecret(),
      HIVESYNC_EGRESS_ALLOW: '127.0.0.0/8',
    }
    const open = () => openContext(parseConfig(settings), createLogger({ write: () => {} }, 'silent'))
    // The first request is never answered: whoever sent it is gone by then.
    await using receiver = await listening((_request, response, index) => {
      if (index > 0) response.writeHead(204).end()
    })
    try {
      const before = await open()
      const webhookId = await makeWebhook(before, receiver.origin)
      await before.db.close()
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, 'test-crashing-sender.ts'), JSON.stringify(settings)],
        {
          stdio: 'inherit',
        },
      )
      await receiver.arrived(1)
      child.kill('SIGKILL')
      await once(child, 'exit')

      const after = await open()
      const first = await after.db.kysely.selectFrom('webhookDeliveries').selectAll().executeTakeFirstOrThrow()
      assert.deepEqual([first.state, first.attempts, first.webhookId], ['pending', 0, webhookId])
      assert.deepEqual(await after.db.kysely.selectFrom('outbox').select('seq').execute(), [])
      assert.equal(await sendWebhooks(after), 0)
      const later: Clock = { now: () => Date.now() + 61_000 }
      const patient = { ...after, clock: later }
      assert.equal(await sendWebhooks(patient), 1)
      await webhooksSettled(patient)
      const [sent, again] = receiver.received
      assert.equal(receiver.received.length, 2)
      assert.equal(again?.headers['webhook-id'], sent?.headers['webhook-id'])
      assert.equal(again?.body, sent?.body)
      const last = await after.db.kysely.selectFrom('webhookDeliveries').selectAll().executeTakeFirstOrThrow()
      assert.deepEqual([last.state, last.attempts], ['succeeded', 1])
      await after.net.close()
      await after.db.close()
    } finally {
      await rm(dataDir, { recursive: true, force: true })
    }
  })
})

async function makeWebhook(ctx: Context, url: string): Promise<string> {
  const now = ctx.clock.now()
  const teamId = ctx.random.id()
  return ctx.db.transaction(async (tx) => {
    await tx.insertInto('teams').values({ id: teamId, name: 'bees', personalUserId: null, createdAt: now }).execute()
    const { id } = await insertWebhook(tx, {
      ...{ id: ctx.random.id(), teamId, url, events: '["*"]', createdAt: now, updatedAt: now },
    })
    await issueKey(ctx, tx, id)
    await enqueueEvent(ctx, tx, { topic: 'project.updated', teamId, payload: { projectId: ctx.random.id() } })
    return id
  })
}

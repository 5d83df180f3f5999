// What P10 measures, in a process of its own: told a number on its standard input, it delivers so many and says what that took.
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Pool } from 'undici'
import { insertOutbox } from '../server/audit/audit.ts'
import { consumeOutbox } from '../server/outbox/outbox.ts'
import { parseConfig } from '../server/platform/config.ts'
import type { Context } from '../server/platform/context.ts'
import { run } from '../server/platform/db/statement.ts'
import { createLogger } from '../server/platform/logger.ts'
import { openContext } from '../server/platform/open-context.ts'
import { issueKey } from '../server/webhooks/keys.ts'
import { policy } from '../server/webhooks/policy.ts'
import { insertWebhook } from '../server/webhooks/queries.ts'
import { sendWebhooks, toWebhooks } from '../server/webhooks/webhooks.ts'

const { values } = parseArgs({
  options: { kind: { type: 'string' }, origin: { type: 'string' }, settings: { type: 'string' } },
})
const endpoints = 16
const lookEveryMs = 20

type Deliver = (count: number) => Promise<{ prepare?: () => Promise<void>; work: () => Promise<void> }>

const deliver = values.kind === 'bare' ? bare(values.origin ?? '') : await hiveSync(values.origin ?? '')
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`)
for await (const line of createInterface({ input: process.stdin })) {
  const count = Number(line)
  const { prepare, work } = await deliver(count)
  await prepare?.()
  const [cpuBefore, startedAt] = [process.cpuUsage(), performance.now()]
  await work()
  const { user, system } = process.cpuUsage(cpuBefore)
  const elapsedMs = performance.now() - startedAt
  process.stdout.write(`${JSON.stringify({ event: 'done', count, cpuMs: (user + system) / 1000, elapsedMs })}\n`)
}
process.exit(0)

/** The same bodies over kept connections, as many as the endpoints may have together: no signature, no database. */
function bare(origin: string): Deliver {
  const body = JSON.stringify({
    type: 'project.updated',
    version: 1,
    data: { projectId: 'x'.repeat(36) },
    at: 'x'.repeat(60),
  })
  const pools = Array.from(
    { length: endpoints },
    () => new Pool(origin, { connections: policy.concurrency, allowH2: false }),
  )
  return async (count) => ({
    async work() {
      const lanes = pools.flatMap((pool, index) =>
        Array.from({ length: policy.concurrency }, async () => {
          for (let sent = 0; sent < count / endpoints / policy.concurrency; sent++) {
            const reply = await pool.request({
              method: 'POST',
              path: `/${index}`,
              headers: { 'content-type': 'application/json' },
              body,
            })
            await reply.body.dump()
          }
        }),
      )
      await Promise.all(lanes)
    },
  })
}

/** From rows of the outbox to recorded attempts, each event for one endpoint, beside an endpoint that hangs with as much before it. */
async function hiveSync(origin: string): Promise<Deliver> {
  const config = parseConfig(JSON.parse(values.settings ?? '{}'))
  const ctx = await openContext(config, createLogger({ write: (line) => void process.stderr.write(line) }))
  const teams: string[] = []
  for (let index = 0; index < endpoints; index++) teams.push((await makeEndpoint(ctx, `${origin}/${index}`)).teamId)
  const hanging = await makeEndpoint(ctx, `${origin}/hang`)
  return async (count) => ({
    async prepare() {
      await tell(ctx, hanging.teamId, 100)
      for (const teamId of teams) await tell(ctx, teamId, Math.ceil(count / endpoints))
      // It is tried again each time, as one that came back would be.
      await ctx.db.kysely
        .updateTable('webhooks')
        .set({ failures: 0, openUntil: null, nextRunAt: 0 })
        .where('id', '=', hanging.webhookId)
        .execute()
    },
    async work() {
      for (;;) {
        await consumeOutbox(ctx, [toWebhooks])
        await sendWebhooks(ctx)
        if (!(await isWaiting(ctx, hanging.webhookId))) return
        await delay(lookEveryMs)
      }
    },
  })
}

async function makeEndpoint(ctx: Context, url: string): Promise<{ teamId: string; webhookId: string }> {
  const now = ctx.clock.now()
  const [teamId, webhookId] = [ctx.random.id(), ctx.random.id()]
  await ctx.db.transaction(async (tx) => {
    await tx.insertInto('teams').values({ id: teamId, name: 'bench', personalUserId: null, createdAt: now }).execute()
    await insertWebhook(tx, { id: webhookId, teamId, url, events: '["*"]', createdAt: now, updatedAt: now })
    await issueKey(ctx, tx, webhookId)
  })
  return { teamId, webhookId }
}

async function tell(ctx: Context, teamId: string, count: number): Promise<void> {
  const event = { topic: 'project.updated', teamId, payload: { projectId: ctx.random.id() } }
  await ctx.db.transaction((tx) =>
    run(
      tx,
      insertOutbox(
        ctx,
        Array.from({ length: count }, () => event),
      ),
    ).then(() => undefined),
  )
}

async function isWaiting(ctx: Context, hangingId: string): Promise<boolean> {
  const row = await ctx.db.kysely
    .selectFrom('webhookDeliveries')
    .select('id')
    .where('state', '=', 'pending')
    .where('webhookId', '<>', hangingId)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

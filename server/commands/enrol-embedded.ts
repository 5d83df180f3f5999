import { recordAudit } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { insertEnrolment } from '../workers/workers.ts'

const ttlMs = 300_000

/** A one-time token for the worker that is started beside the server; the process that starts both asks for it, nobody else can. */
export async function createEmbeddedEnrolment(ctx: Context): Promise<string> {
  const token = `hse_${ctx.random.token()}`
  const now = ctx.clock.now()
  const id = ctx.random.id()
  await ctx.db.transaction(async (tx) => {
    await insertEnrolment(tx, {
      id,
      token,
      name: 'embedded',
      teamId: null,
      createdBy: null,
      createdAt: now,
      expiresAt: now + ttlMs,
    })
    await recordAudit(ctx, tx, system, { action: 'worker.enrolment_created', target: { kind: 'enrolment', id } })
  })
  return token
}

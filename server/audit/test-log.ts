// For tests: a log with events, leaves and checkpoints, and ways to tamper with it as somebody could who has the database.
import type { Hive } from '../../test/harness/hive.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { run, statement, text } from '../platform/db/statement.ts'
import { insertAudits } from './audit.ts'
import { sealAudit } from './sequence.ts'

export const guest: Actor = { ...nobody, requestId: 'request-1', ip: '192.0.2.0/24' }

/** Records events and makes leaves of them, a checkpoint at the end. */
export async function record(hive: Hive, count: number, actor: Actor = guest): Promise<void> {
  for (let made = 0; made < count; made += 250) {
    const acts = Array.from({ length: Math.min(250, count - made) }, (_, index) => ({
      actor,
      action: 'thing.made',
      target: { kind: 'thing', id: `t-${made + index}` },
      details: { number: made + index },
    }))
    await hive.ctx.db.transaction(async (tx) => {
      await run(tx, insertAudits(hive.ctx, acts))
    })
  }
  await sealAudit(hive.ctx)
}

/** Runs a statement as the owner of the tables could: the triggers that refuse changes are gone. */
export async function tamper(hive: Hive, sql: string): Promise<void> {
  const { db } = hive.ctx
  for (const table of ['events', 'leaves']) {
    const on = db.dialect === 'postgres' ? ` on audit_${table}` : ''
    await db.runScript(`drop trigger if exists audit_${table}_unchanged${on}`)
  }
  await run(db.kysely, statement`${text(sql)}`)
}

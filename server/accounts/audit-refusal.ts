import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'

/** Runs a verb and remembers its refusal too (requirement A12); the verb itself records its success. What the server could not do at all is no refusal. */
export async function auditRefusal<T>(ctx: Context, actor: Actor, action: string, verb: () => Promise<T>): Promise<T> {
  try {
    return await verb()
  } catch (error) {
    if (error instanceof AppError && error.status < 500) {
      const act = { action, outcome: 'refused', details: { reason: error.code } } as const
      await ctx.db.transaction((tx) => recordAudit(ctx, tx, actor, act))
    }
    throw error
  }
}

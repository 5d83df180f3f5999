import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'

const windowSeconds = 600
interface Signed {
  keyId: string
  nonce: string
  createdSeconds: number
}

export interface ReplayGuard {
  /** Refuses a signature that was seen before (`signature_replayed`). */
  requireFresh(signed: Signed): Promise<void>
}

/**
 * Remembers nonces for as long as their signatures are acceptable. One SQLite process remembers in memory, and refuses what was signed before it started:
 * what it cannot remember it does not accept. On PostgreSQL the replicas share a table.
 */
export function createReplayGuard(ctx: Context): ReplayGuard {
  return ctx.db.dialect === 'sqlite' ? inMemory(ctx) : inTable(ctx)
}

function inMemory(ctx: Context): ReplayGuard {
  const startedSeconds = Math.floor(ctx.clock.now() / 1000)
  // Two generations, each covering a whole window: dropping the older one forgets only what is too old to be accepted.
  let recent = new Set<string>()
  let older = new Set<string>()
  let turnSeconds = startedSeconds + windowSeconds
  return {
    async requireFresh({ keyId, nonce, createdSeconds }) {
      const nowSeconds = Math.floor(ctx.clock.now() / 1000)
      if (nowSeconds >= turnSeconds) {
        older = nowSeconds >= turnSeconds + windowSeconds ? new Set() : recent
        recent = new Set()
        turnSeconds = nowSeconds + windowSeconds
      }
      const entry = `${keyId} ${nonce}`
      if (recent.has(entry) || older.has(entry)) throw new AppError('signature_replayed')
      if (createdSeconds < startedSeconds)
        throw new AppError('signature_expired', {}, { detail: 'Signed before this server started: sign again' })
      recent.add(entry)
    },
  }
}

function inTable(ctx: Context): ReplayGuard {
  return {
    async requireFresh({ keyId, nonce, createdSeconds }) {
      const result = await ctx.db.kysely
        .insertInto('workerNonces')
        .values({ workerId: keyId, nonce, expiresAt: (createdSeconds + windowSeconds) * 1000 })
        .onConflict((conflict) => conflict.columns(['workerId', 'nonce']).doNothing())
        .executeTakeFirst()
      if (result.numInsertedOrUpdatedRows !== 1n) throw new AppError('signature_replayed')
    },
  }
}

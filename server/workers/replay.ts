import { createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import { insert, run } from '../platform/db/statement.ts'
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
    async requireFresh(signed) {
      const nowSeconds = Math.floor(ctx.clock.now() / 1000)
      if (nowSeconds >= turnSeconds) {
        older = nowSeconds >= turnSeconds + windowSeconds ? new Set() : recent
        recent = new Set()
        turnSeconds = nowSeconds + windowSeconds
      }
      const entry = entryOf(signed)
      if (recent.has(entry) || older.has(entry)) throw new AppError('signature_replayed')
      if (signed.createdSeconds < startedSeconds)
        throw new AppError('signature_expired', {}, { detail: 'Signed before this server started: sign again' })
      recent.add(entry)
    },
  }
}

const nonceColumns = { workerId: 'text', nonce: 'text', expiresAt: 'bigint' } as const
/** Signatures whose nonces are written together. */
const maxTogether = 500

function inTable(ctx: Context): ReplayGuard {
  const batches = createBatches<Signed, true>((items) => insertNonces(ctx, items), maxTogether)
  return {
    async requireFresh(signed) {
      await batches.add(signed)
    },
  }
}

/** Writes the nonces of this moment. Each is good once, among them too: of several signatures with one the first is fresh. */
async function insertNonces(ctx: Context, items: readonly Signed[]): Promise<(true | AppError)[]> {
  const first = new Map<string, Signed>()
  for (const signed of items) if (!first.has(entryOf(signed))) first.set(entryOf(signed), signed)
  // In an order that is the same for everybody: replicas that are sent the same signatures wait for each other's rows.
  const sorted = [...first].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, signed]) => signed)
  const written = await run<{ workerId: string; nonce: string }>(
    ctx.db.kysely,
    insert(
      'worker_nonces',
      nonceColumns,
      sorted.map(({ keyId, nonce, createdSeconds }) => ({
        ...{ workerId: keyId, nonce },
        expiresAt: (createdSeconds + windowSeconds) * 1000,
      })),
      'on conflict (worker_id, nonce) do nothing returning worker_id, nonce',
    ),
  )
  const fresh = new Set(written.map(({ workerId, nonce }) => entryOf({ keyId: workerId, nonce })))
  return items.map((signed) => {
    const isFresh = first.get(entryOf(signed)) === signed && fresh.has(entryOf(signed))
    return isFresh || new AppError('signature_replayed')
  })
}

const entryOf = ({ keyId, nonce }: Pick<Signed, 'keyId' | 'nonce'>): string => `${keyId} ${nonce}`

import type { Fault } from '@hivesync/contracts/oversight.ts'
import { sql } from 'kysely'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { describeCause, type LogFields, type Logger } from '../platform/logger.ts'

/** Different faults held between two writes; more at once are one trouble with many faces. */
const maxHeld = 200
/** Kept and shown. */
const maxKept = 500
const keepMs = 30 * 24 * 3_600_000
const maxStackLength = 2000

interface Held {
  event: string
  errorName: string | null
  message: string | null
  stack: string | null
  count: number
  requestId: string | null
}
const heldBy = new WeakMap<Logger, Map<string, Held>>()

/** A logger whose errors are also counted, so that admins see them without a shell on the machine (requirement L1). Texts are redacted as in the log. */
export function watchFaults(log: Logger): Logger {
  const held = new Map<string, Held>()
  const watching: Logger = {
    ...log,
    error(fields, cause) {
      log.error(fields, cause)
      hold(held, fields, cause)
    },
  }
  heldBy.set(watching, held)
  return watching
}

function hold(held: Map<string, Held>, fields: LogFields, cause: unknown): void {
  const { errorName, errorMessage, stack } = describeCause(cause)
  const event = textOf(fields.event) ?? 'unknown'
  // Where it happened, not what it said: messages hold ids, and alike faults would be strangers.
  const place = textOf(stack)?.split('\n').slice(1, 4).join('\n') ?? ''
  const fingerprint = sha256Hex(JSON.stringify([event, errorName, place])).slice(0, 32)
  const known = held.get(fingerprint)
  if (known === undefined && held.size >= maxHeld) return
  held.set(fingerprint, {
    event,
    errorName: textOf(errorName),
    message: textOf(errorMessage) ?? textOf(fields.reason),
    stack: textOf(stack)?.slice(0, maxStackLength) ?? null,
    count: (known?.count ?? 0) + 1,
    requestId: textOf(fields.requestId) ?? known?.requestId ?? null,
  })
}

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** Writes what was counted since the last time; called on a timer. What cannot be written now waits for the next time. */
export async function keepFaults(ctx: Context): Promise<void> {
  const held = heldBy.get(ctx.log)
  if (held === undefined || held.size === 0) return
  const now = ctx.clock.now()
  // In one order: replicas that count the same faults never wait for each other.
  const entries = [...held].sort(([a], [b]) => (a < b ? -1 : 1))
  held.clear()
  try {
    await ctx.db.transaction(async (tx) => {
      for (const [fingerprint, { requestId, ...fault }] of entries) {
        await tx
          .insertInto('faults')
          .values({ fingerprint, ...fault, firstAt: now, lastAt: now, lastRequestId: requestId })
          .onConflict((conflict) =>
            conflict.column('fingerprint').doUpdateSet({
              count: sql<number>`faults.count + ${fault.count}`,
              message: fault.message,
              lastAt: now,
              lastRequestId: requestId,
            }),
          )
          .execute()
      }
    })
  } catch (error) {
    for (const [fingerprint, fault] of entries) {
      const since = held.get(fingerprint)
      held.set(fingerprint, { ...fault, count: fault.count + (since?.count ?? 0) })
    }
    throw error
  }
}

/** Forgets faults that have not come again for thirty days. */
export async function pruneFaults(ctx: Context): Promise<void> {
  await ctx.db.kysely
    .deleteFrom('faults')
    .where('lastAt', '<', ctx.clock.now() - keepMs)
    .execute()
}

/** The faults there were, the latest first. */
export async function listFaults(ctx: Context): Promise<Fault[]> {
  await keepFaults(ctx)
  const rows = await ctx.db.kysely.selectFrom('faults').selectAll().orderBy('lastAt', 'desc').limit(maxKept).execute()
  return rows.map(({ firstAt, lastAt, ...row }) => ({ ...row, firstAt: isoTime(firstAt), lastAt: isoTime(lastAt) }))
}

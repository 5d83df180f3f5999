import type { Actor } from '../platform/actor.ts'
import { nobody } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { recordAudit } from './audit.ts'

/** A request that was refused for its credentials: the operation, the code, and the network part of where it came from. */
export interface Refusal {
  operation: string
  code: string
  ip: string
  requestId: string
}

export interface RefusalAudit {
  note(refusal: Refusal): void
  /** Writes what has been counted so far. */
  settled(): Promise<void>
}

const windowMs = 60_000
/** Sources counted apart in one minute; those beyond share one row, so that nobody fills the memory with addresses. */
const maxSources = 1000
const elsewhere = 'elsewhere'

/**
 * Remembers requests refused for missing or bad credentials (requirement K1): the first of an operation, code and source at once, those that follow within
 * the minute as one row with their number. Whoever guesses a million times costs two rows a minute.
 */
export function createRefusalAudit(ctx: Context): RefusalAudit {
  let counts = new Map<string, { refusal: Refusal; more: number }>()
  let writing = Promise.resolve()

  const write = (refusal: Refusal, count: number): void => {
    const actor: Actor = { ...nobody, requestId: refusal.requestId, ip: refusal.ip }
    const target = { kind: 'operation', id: refusal.operation }
    writing = writing
      .then(() =>
        ctx.db.transaction((tx) =>
          recordAudit(ctx, tx, actor, {
            action: 'request.refused',
            outcome: 'refused',
            target,
            details: { code: refusal.code, count },
          }),
        ),
      )
      .catch((error: unknown) => ctx.log.error({ event: 'refusal_not_audited', code: refusal.code }, error))
  }

  const flush = (): void => {
    const ended = counts
    counts = new Map()
    for (const { refusal, more } of ended.values()) if (more > 0) write(refusal, more)
  }
  const timer = setInterval(flush, windowMs).unref()

  return {
    note(refusal) {
      const isKnown = counts.has(keyOf(refusal)) || counts.size < maxSources
      const counted = isKnown ? refusal : { ...refusal, ip: elsewhere }
      const entry = counts.get(keyOf(counted))
      if (entry !== undefined) {
        entry.more++
        return
      }
      counts.set(keyOf(counted), { refusal: counted, more: 0 })
      write(counted, 1)
    },
    async settled() {
      clearInterval(timer)
      flush()
      await writing
    },
  }
}

function keyOf({ operation, code, ip }: Refusal): string {
  return `${operation} ${code} ${ip}`
}

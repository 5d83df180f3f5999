import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../platform/actor.ts'
import { nobody } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { partialAddress } from '../platform/http/client-address.ts'
import { recordAudit } from './audit.ts'

/** A request that was refused for its credentials or for what they allow: the operation, the code, and the network part of where it came from. */
export interface Refusal {
  /** Who asked, where the credentials proved somebody. */
  actor?: Actor
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
 * Remembers requests refused for missing, bad or insufficient credentials (requirement K1): the first of an operation, code, actor and source at once, those that follow within
 * the minute as one row with their number. Whoever guesses a million times costs two rows a minute.
 */
export function createRefusalAudit(ctx: Context): RefusalAudit {
  let counts = new Map<string, { refusal: Refusal; more: number }>()
  let writing = Promise.resolve()

  const write = (refusal: Refusal, count: number): void => {
    const actor: Actor = { ...(refusal.actor ?? nobody), requestId: refusal.requestId, ip: refusal.ip }
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
      const { actor: _, ...anonymous } = refusal
      const counted = isKnown ? refusal : { ...anonymous, ip: elsewhere }
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

/** Notes what was refused for want of rights. Refused logins and the like are public operations, and audited by their verbs; to be asked for a fresh proof is no refusal. */
export function noteRefusal(refusals: RefusalAudit, request: FastifyRequest, reply: FastifyReply): void {
  const endpoint = request.routeOptions.config.endpoint
  const code = reply.refusal?.code
  if (endpoint === undefined || endpoint.access === 'public' || code === undefined || code === 'step_up_required')
    return
  const { actor } = request
  const isKnown = reply.statusCode === 403 && actor.kind !== 'nobody'
  if (reply.statusCode !== 401 && !isKnown) return
  const refusal = { operation: endpoint.name, code, ip: partialAddress(request.ip), requestId: request.id }
  refusals.note(isKnown ? { ...refusal, actor } : refusal)
}

function keyOf({ actor, operation, code, ip }: Refusal): string {
  return `${operation} ${code} ${ip} ${actor?.id ?? ''}`
}

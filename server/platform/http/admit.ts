import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Identity, nobody } from '../actor.ts'
import { AppError } from '../errors.ts'
import type { Guard } from './guard.ts'
import { applyVerdict } from './limit-headers.ts'
import type { Limited } from './rate-limits.ts'
import { requireHeaderSize, requireRequestSize } from './request-plan.ts'

/** An address that no operation has is counted as a read by nobody: who tries out paths is as limited as who knows them. */
const unknown = { name: 'unknown', limit: 'read' } as const

/** Proves, counts and authorises a request before anything of its body is read; then `request.actor` is who asks. Answers at once where nothing had to be asked. */
export function admit(
  guard: Guard,
  requireStart: (request: FastifyRequest) => void,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void,
): void {
  const { endpoint } = request.routeOptions.config
  if (endpoint === undefined) return done(new Error('a route without a contract was served'))

  const accept = (identity: Identity): void | Promise<void> => {
    request.actor = guard.actor(identity, request)
    return after(count(guard, request, reply, endpoint, identity), () => {
      guard.authorise(endpoint, identity)
      requireHeaderSize(request)
      requireRequestSize(request)
    })
  }
  // Credentials that prove nobody are an anonymous request, and so is what is refused before they are looked at: guessing is counted against the address it comes from.
  const refuse = (error: unknown): never | Promise<never> => {
    if (!(error instanceof AppError) || error.status >= 500) throw error
    const counted = count(guard, request, reply, endpoint, nobody)
    if (counted === undefined) throw error
    return counted.then(() => {
      throw error
    })
  }
  settle(() => {
    let identity: Identity | Promise<Identity>
    try {
      requireStart(request)
      identity = guard.authenticate(endpoint, request)
    } catch (error) {
      return refuse(error)
    }
    return identity instanceof Promise ? identity.then(accept, refuse) : accept(identity)
  }, done)
}

/** Counts a request for an address that no operation has, before it is answered. */
export function admitUnknown(
  guard: Guard,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void,
): void {
  settle(() => count(guard, request, reply, unknown, nobody), done)
}

function count(
  guard: Guard,
  request: FastifyRequest,
  reply: FastifyReply,
  endpoint: Limited,
  identity: Identity,
): void | Promise<void> {
  const verdict = guard.limit(endpoint, identity, request.ip)
  if (verdict instanceof Promise) return verdict.then((found) => applyVerdict(reply, found))
  if (verdict !== undefined) applyVerdict(reply, verdict)
}

// Most requests need to ask nothing: they must not cost a turn of the event loop.
function after(first: void | Promise<void>, then: () => void): void | Promise<void> {
  return first instanceof Promise ? first.then(then) : then()
}

function settle(act: () => void | Promise<void>, done: (error?: Error) => void): void {
  let pending: void | Promise<void>
  try {
    pending = act()
  } catch (error) {
    return done(error as Error)
  }
  if (!(pending instanceof Promise)) return done()
  pending.then(
    () => done(),
    (error: unknown) => done(error as Error),
  )
}

import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Identity, nobody } from '../actor.ts'
import { AppError } from '../errors.ts'
import type { Guard } from './guard.ts'

/** Proves, counts and authorises a request before anything of its body is read; then `request.actor` is who asks. */
export function admit(
  guard: Guard,
  requireStart: (request: FastifyRequest) => void,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void,
): void {
  const { endpoint } = request.routeOptions.config
  if (endpoint === undefined) return done(new Error('a route without a contract was served'))

  const accept = (identity: Identity): void => {
    request.actor = guard.actor(identity, request.id, request.ip)
    count(guard, request, reply, endpoint, identity)
    guard.authorise(endpoint, identity)
  }
  const refuse = (error: unknown): Error => {
    try {
      // Credentials that prove nobody are an anonymous request: guessing is counted against the address it comes from.
      if (error instanceof AppError && error.status === 401) count(guard, request, reply, endpoint, nobody)
      return error as Error
    } catch (limited) {
      return limited as Error
    }
  }
  let pending: Promise<void> | undefined
  try {
    requireStart(request)
    const identity = guard.authenticate(endpoint, request)
    if (identity instanceof Promise) pending = identity.then(accept)
    else accept(identity)
  } catch (error) {
    return done(refuse(error))
  }
  if (pending === undefined) return done()
  pending.then(
    () => done(),
    (error: unknown) => done(refuse(error)),
  )
}

function count(
  guard: Guard,
  request: FastifyRequest,
  reply: FastifyReply,
  endpoint: Endpoint,
  identity: Identity,
): void {
  const state = guard.limit(endpoint, identity, request.ip)
  if (state === undefined) return
  const resetSeconds = Math.ceil(state.resetMs / 1000)
  reply
    .header('x-ratelimit-limit', state.limit)
    .header('x-ratelimit-remaining', state.remaining)
    .header('x-ratelimit-reset', resetSeconds)
  if (!state.allowed)
    throw new AppError('rate_limited', {}, { headers: { 'retry-after': String(Math.max(1, resetSeconds)) } })
}

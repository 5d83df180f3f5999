import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type { FastifyRequest } from 'fastify'
import { type Actor, type Identity, nobody } from '../actor.ts'
import { AppError } from '../errors.ts'
import { findTraceParent } from '../trace-parent.ts'
import { partialAddress } from './client-address.ts'
import type { Limited, LimitVerdict, RateLimits } from './rate-limits.ts'
import { authorizationOf } from './websocket.ts'

/** How credentials become an identity; each throws a 401 refusal. Answers at once where it can, so that the common request costs no turn of the event loop. */
export interface Authenticators {
  bearer(token: string): Identity | Promise<Identity>
  worker(request: FastifyRequest): Promise<Identity>
  /** Spends the proof that came in the header `Step-Up`; throws when it is missing or is not for this session and this very act. */
  stepUp(actor: Actor, act: SensitiveAct, proof: string | undefined): Promise<void>
}

/** What a step-up is bound to: the operation, its parameters and the SHA-256 (base64url) of its body. */
export interface SensitiveAct {
  readonly operation: string
  readonly params: Readonly<Record<string, string>>
  readonly bodyDigest: string | null
}

export interface Guard {
  authenticate(endpoint: Endpoint, request: FastifyRequest): Identity | Promise<Identity>
  /** Counts the request against its actor, or its address when anonymous; undefined where the operation is not limited. */
  limit(endpoint: Limited, identity: Identity, address: string): LimitVerdict | undefined | Promise<LimitVerdict>
  authorise(endpoint: Endpoint, identity: Identity): void
  actor(identity: Identity, request: FastifyRequest): Actor
}

export function createGuard(authenticators: Authenticators, limits: RateLimits): Guard {
  return {
    authenticate(endpoint, request) {
      if (endpoint.access === 'public') return nobody
      if (endpoint.access === 'worker') return authenticators.worker(request)
      return authenticators.bearer(bearerToken(authorizationOf(request)))
    },
    limit: (endpoint, identity, address) => limits.hit(endpoint, identity, address),
    authorise(endpoint, identity) {
      if (!isAllowed(endpoint, identity)) throw new AppError('permission_denied', { access: endpoint.access })
    },
    actor(identity, request) {
      const actor = { ...identity, requestId: request.id, ip: partialAddress(request.ip) }
      const traceParent = request.tracePlace ?? findTraceParent(request.headers.traceparent)
      return traceParent === undefined ? actor : { ...actor, traceParent }
    },
  }
}

function isAllowed({ access, stepUp }: Endpoint, identity: Identity): boolean {
  // A fresh proof of the person (requirement A8) is nothing a key could ever bring: refused before its body is read.
  if (stepUp && identity.kind === 'key') return false
  if (access === 'public') return true
  if (access === 'worker') return identity.kind === 'worker'
  if (access === 'session') return identity.kind === 'user'
  if (access === 'admin') return identity.isAdmin
  if (access === 'metrics') return identity.isAdmin || identity.isMonitor === true
  return identity.permissions.has(access)
}

// RFC 6750 §2.1: one header, one token; nothing else is read (a token in a URL ends up in logs).
function bearerToken(header: string | undefined): string {
  if (header === undefined) throw new AppError('authentication_required')
  const token = /^Bearer ([A-Za-z0-9._~+/=-]{1,4096})$/i.exec(header)?.[1]
  if (token === undefined) throw new AppError('invalid_token')
  return token
}

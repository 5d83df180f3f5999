import type { Endpoint, LimitCategory } from '@hivesync/contracts/endpoint.ts'
import type { FastifyRequest } from 'fastify'
import { type Actor, type Identity, nobody } from '../actor.ts'
import { AppError } from '../errors.ts'
import type { SlidingWindow, WindowState } from '../limits/sliding-window.ts'
import { limitKeyOf, partialAddress } from './client-address.ts'

/** How credentials become an identity; each throws a 401 refusal. Answers at once where it can, so that the common request costs no turn of the event loop. */
export interface Authenticators {
  bearer(token: string): Identity | Promise<Identity>
  worker(request: FastifyRequest): Promise<Identity>
}

/** Requests per minute (requirement I1); an enrolled worker is not limited, so its figure counts only requests that prove no worker. */
const perMinute = { auth: 10, write: 30, read: 100, admin: 200, worker: 100 } as const satisfies Partial<
  Record<LimitCategory, number>
>

export interface Guard {
  authenticate(endpoint: Endpoint, request: FastifyRequest): Identity | Promise<Identity>
  /** Counts the request against its actor, or its address when anonymous; undefined where the operation is not limited. */
  limit(endpoint: Endpoint, identity: Identity, address: string): WindowState | undefined
  authorise(endpoint: Endpoint, identity: Identity): void
  actor(identity: Identity, requestId: string, address: string): Actor
}

export function createGuard(
  authenticators: Authenticators,
  window: SlidingWindow,
  rateScale: number,
  now: () => number,
): Guard {
  return {
    authenticate(endpoint, request) {
      if (endpoint.access === 'public') return nobody
      if (endpoint.access === 'worker') return authenticators.worker(request)
      return authenticators.bearer(bearerToken(request.headers.authorization))
    },
    limit(endpoint, identity, address) {
      const category = endpoint.limit
      if (category === 'none' || (category === 'worker' && identity.kind === 'worker')) return undefined
      const key =
        identity.kind === 'nobody'
          ? `${category}:ip:${limitKeyOf(address)}`
          : `${category}:${identity.kind}:${identity.id}`
      return window.hit(key, perMinute[category] * rateScale, now())
    },
    authorise(endpoint, identity) {
      if (!isAllowed(endpoint, identity)) throw new AppError('permission_denied', { access: endpoint.access })
    },
    actor: (identity, requestId, address) => ({ ...identity, requestId, ip: partialAddress(address) }),
  }
}

function isAllowed({ access }: Endpoint, identity: Identity): boolean {
  if (access === 'public') return true
  if (access === 'worker') return identity.kind === 'worker'
  if (access === 'session') return identity.kind === 'user'
  if (access === 'admin') return identity.isAdmin
  return identity.permissions.has(access)
}

// RFC 6750 §2.1: one header, one token; nothing else is read (a token in a URL ends up in logs).
function bearerToken(header: string | undefined): string {
  if (header === undefined) throw new AppError('authentication_required')
  const token = /^Bearer ([A-Za-z0-9._~+/=-]{1,4096})$/i.exec(header)?.[1]
  if (token === undefined) throw new AppError('invalid_token')
  return token
}

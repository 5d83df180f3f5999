import type { Permission } from '@hivesync/contracts/access.ts'
import { AppError } from './errors.ts'

/** Who is asking, as the authentication that opened the request proved it. Rights over a project are decided in SQL, never from here. */
export interface Identity {
  readonly kind: 'nobody' | 'user' | 'key' | 'worker' | 'system'
  /** The user's, API key's or worker's id. */
  readonly id: string | null
  /** The person whose rights count: the session's user or the API key's owner. */
  readonly userId: string | null
  readonly sessionId: string | null
  /** An API key bound to one project reaches no other. */
  readonly projectId: string | null
  readonly isAdmin: boolean
  /** An admin's key that reads the figures of the whole. */
  readonly isMonitor?: boolean
  /** What the credentials allow; a session holds everything. */
  readonly permissions: ReadonlySet<Permission>
  /** The public key with which a worker signed: its present one, or for a while the one before. */
  readonly workerKey?: string
  /** An API key's own limit; nothing else has one. */
  readonly hourly?: HourlyLimit
  /** What the plan of the person allows each request; without one, what everybody may. */
  readonly plan?: RequestPlan
}

/** The part of a plan that bounds requests (requirements I1, I4, I5). Sizes in bytes. */
export interface RequestPlan {
  readonly rateMultiplier: number
  readonly bodyBytes: number
  readonly headerBytes: number
  readonly stringLength: number
  readonly arrayItems: number
  readonly pageItems: number
}

/** Requests in any 60 minutes, counted together by all credentials that name the same `group`: a key and those that rotation made of it. */
export interface HourlyLimit {
  readonly group: string
  readonly limit: number
}

/** An identity in one request; audit events carry the request's id and the network part of the address. */
export interface Actor extends Identity {
  readonly requestId: string | null
  readonly ip: string | null
  /** The caller's own trace (W3C Trace Context), where it sent one. */
  readonly traceParent?: string | undefined
}

export const nobody: Identity = {
  kind: 'nobody',
  id: null,
  userId: null,
  sessionId: null,
  projectId: null,
  isAdmin: false,
  permissions: new Set(),
}

/** The control plane itself: timers, reapers, the start. */
export const system: Actor = { ...nobody, kind: 'system', requestId: null, ip: null }

/** The person and session behind the actor. The contracts let only sessions in; this turns that into types, and holds if one day a contract does not. */
export function requireSession(actor: Identity): { userId: string; sessionId: string } {
  const { kind, userId, sessionId } = actor
  if (kind !== 'user' || userId === null || sessionId === null) throw new AppError('permission_denied')
  return { userId, sessionId }
}

import type { Permission } from '@hivesync/contracts/access.ts'

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
  /** What the credentials allow; a session holds everything. */
  readonly permissions: ReadonlySet<Permission>
}

/** An identity in one request; audit events carry the request's id and the network part of the address. */
export interface Actor extends Identity {
  readonly requestId: string | null
  readonly ip: string | null
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

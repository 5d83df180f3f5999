import type { Generated } from 'kysely'

/** The tables of people, their credentials and what proves them; the SQL in migrations/ is the source. */
export interface IdentitySchema {
  users: Users
  setup: { id: number; tokenHash: string | null; completedAt: number | null }
  signingKeys: SigningKeys
  sessions: Sessions
  teams: { id: string; name: string; personalUserId: string | null; tier: Generated<string>; createdAt: number }
  teamMembers: { teamId: string; userId: string; role: 'member' | 'admin' | 'owner'; createdAt: number }
  apiKeys: ApiKeys
  passwordWorks: { name: string }
  knownDevices: KnownDevices
  oneTimeTokens: OneTimeTokens
  factors: Factors
  recoveryCodes: { codeHash: string; userId: string; createdAt: number; usedAt: number | null }
  loginThrottles: { key: string; failures: number; lastAt: number; blockedUntil: number }
  mailQueue: { id: string; sealed: string; attempts: Generated<number>; runAt: number; createdAt: number }
  externalIdentities: ExternalIdentities
  invitations: Invitations
  deviceAuthorizations: DeviceAuthorizations
  proofNonces: { nonce: string; expiresAt: number }
  identityEpoch: { id: number; epoch: number }
}

interface Users {
  id: string
  email: string
  emailKey: string
  username: string
  usernameKey: string
  passwordHash: string | null
  adminSince: number | null
  deactivatedAt: number | null
  emailVerifiedAt: number | null
  createdAt: number
  lastLoginAt: number | null
  tokenVersion: Generated<number>
  passwordShortAt: Generated<number | null>
  passwordFailures: Generated<number>
  passwordDisabledAt: Generated<number | null>
  erasedAt: Generated<number | null>
}

interface SigningKeys {
  id: string
  purpose: string
  state: 'next' | 'current' | 'previous'
  publicKey: string
  /** Empty once the key no longer signs. */
  sealedPrivateKey: string
  createdAt: number
  retiresAt: number | null
  activatedAt: Generated<number | null>
}

interface Sessions {
  id: string
  userId: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  idleExpiresAt: number
  revokedAt: number | null
  revokedReason: string | null
  refreshCounter: number
  refreshHash: string
  previousRefreshHash: string | null
  rotatedAt: number
  /** JSON list of RFC 8176 methods. */
  amr: Generated<string>
  deviceId: Generated<string | null>
  /** The RFC 7638 thumbprint of the key that a refresh must prove; null when the session is not bound. */
  deviceKey: Generated<string | null>
  /** The counter of the first refresh token given out under the key. */
  deviceKeyFrom: Generated<number | null>
}

interface ApiKeys {
  id: string
  userId: string | null
  projectId: string | null
  name: string
  prefix: string
  secretHash: string
  scopes: string
  createdAt: number
  expiresAt: number | null
  lastUsedAt: number | null
  revokedAt: number | null
  rateLimitPerHour: Generated<number | null>
  replacedBy: Generated<string | null>
  rootId: Generated<string | null>
  expiryToldAt: Generated<number | null>
}

interface KnownDevices {
  id: string
  userId: string
  tokenHash: string
  name: string | null
  failures: Generated<number>
  createdAt: number
  lastUsedAt: number
}

interface OneTimeTokens {
  tokenHash: string
  purpose: string
  userId: string | null
  sessionId: string | null
  data: string
  attemptsLeft: number
  createdAt: number
  expiresAt: number
}

interface Factors {
  id: string
  userId: string
  kind: string
  name: string
  externalId: string | null
  sealedSecret: string | null
  data: Generated<string>
  failures: Generated<number>
  lastStep: number | null
  createdAt: number
  confirmedAt: number | null
  lastUsedAt: number | null
}

interface ExternalIdentities {
  id: string
  userId: string
  issuer: string
  subject: string
  createdAt: number
  lastUsedAt: number | null
}

interface Invitations {
  id: string
  teamId: string | null
  email: string
  emailKey: string
  role: 'member' | 'admin' | 'owner' | null
  tokenHash: string
  invitedBy: string | null
  createdAt: number
  expiresAt: number
  acceptedAt: number | null
  acceptedBy: string | null
  revokedAt: number | null
}

interface DeviceAuthorizations {
  id: string
  deviceCodeHash: string
  userCodeHash: string
  deviceName: string | null
  deviceKey: string | null
  ip: string | null
  userId: string | null
  sessionId: Generated<string | null>
  amr: string | null
  decidedAt: number | null
  approvedAt: number | null
  lastPolledAt: number | null
  createdAt: number
  expiresAt: number
}

import type { User } from '@hivesync/contracts/accounts.ts'
import type { ApiKey, NewApiKey } from '@hivesync/contracts/api-keys.ts'
import type { Job } from '@hivesync/contracts/jobs.ts'
import type { Project } from '@hivesync/contracts/projects.ts'
import type { Session, Tokens } from '@hivesync/contracts/sessions.ts'
import type { Worker } from '@hivesync/contracts/workers.ts'

/** The id that ends with this number. */
export function idOf(number: number): string {
  return `0199a000-0000-7000-8000-${String(number).padStart(12, '0')}`
}

const time = '2026-01-02T03:04:05.678Z'

export const user: User = {
  id: idOf(1),
  email: 'ada@example.org',
  username: 'ada',
  isActive: true,
  isAdmin: true,
  tier: 'free',
  emailVerified: false,
  mfa: false,
  createdAt: time,
  lastLoginAt: null,
}

export const session: Session = {
  id: idOf(2),
  current: true,
  deviceName: null,
  methods: ['pwd'],
  deviceBound: false,
  userAgent: null,
  ip: null,
  createdAt: time,
  lastSeenAt: time,
  expiresAt: '2026-02-02T03:04:05.678Z',
}

export function tokensOf(number: number): Tokens {
  return {
    accessToken: `access-${number}`,
    tokenType: 'Bearer',
    expiresIn: 900,
    refreshToken: `refresh-${number}`,
    session,
  }
}

export const project: Project = {
  id: idOf(3),
  name: 'Apollo',
  teamId: idOf(4),
  role: 'owner',
  createdAt: time,
  archivedAt: null,
}

export function jobOf(changes: Partial<Job> = {}): Job {
  return {
    id: idOf(5),
    projectId: project.id,
    kind: 'compute',
    subject: 'true',
    state: 'queued',
    phase: null,
    progress: null,
    message: null,
    priority: 5,
    labels: [],
    pool: 'default',
    attempt: 0,
    maxAttempts: 3,
    backoff: null,
    scheduleId: null,
    scheduledFor: null,
    submittedAt: time,
    ttlSeconds: 86_400,
    expiresAt: time,
    startedAt: null,
    finishedAt: null,
    result: null,
    error: null,
    skipReason: null,
    cancelRequestedAt: null,
    ...changes,
  }
}

export const apiKey: ApiKey = {
  id: idOf(40),
  name: 'ci',
  prefix: 'hs_test_01234567',
  environment: 'test',
  scopes: ['read'],
  projectId: null,
  rateLimitPerHour: 1000,
  replacedBy: null,
  createdAt: time,
  expiresAt: '2026-04-02T03:04:05.678Z',
  lastUsedAt: null,
}

export const newApiKey: NewApiKey = { ...apiKey, id: idOf(43), apiKey: `hs_test_${'0'.repeat(57)}` }

export const worker: Worker = {
  id: idOf(6),
  name: 'laptop',
  teamId: null,
  state: 'online',
  labels: ['gpu'],
  kinds: ['compute'],
  slots: 4,
  running: 1,
  version: '0.1.0',
  isolation: { level: 'full', layers: ['seccomp'], reason: null },
  pool: 'default',
  capabilities: null,
  clockSkewMs: null,
  refusing: null,
  ephemeral: false,
  enrolmentId: null,
  keyExpiresAt: null,
  enrolledAt: time,
  lastSeenAt: time,
}

/** Server-sent events as text; ids count from 1. */
export function eventStream(events: readonly (readonly [event: string, data: unknown])[], firstId = 1): string {
  return events
    .map(([event, data], index) => `id: ${firstId + index}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    .join('')
}

export function logEvent(seq: number, stream: 'stdout' | 'stderr' | 'system', text: string): [string, unknown] {
  return ['log', { seq, attempt: 1, stream, at: time, text }]
}

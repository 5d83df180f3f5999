import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Job, JobKind, JobState } from './jobs.ts'
import { TierName } from './tiers.ts'
import { Count, Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

/** A team as admins see it: who is in it and what it uses, nothing of what it works on. */
export const ListedTeam = object({
  id: Id,
  name: Name,
  tier: TierName,
  isPersonal: Type.Boolean(),
  members: Count,
  projects: Count,
  waitingJobs: Count,
  runningJobs: Count,
  storedBytes: Count,
  createdAt: Time,
})
export type ListedTeam = Static<typeof ListedTeam>

/** Something that wants a person: it was found at `raisedAt`, seen last at `lastAt`, and over at `endedAt`. */
export const Alert = object({
  id: Id,
  kind: Type.String(),
  subject: Type.String({ description: 'The id of a worker, team or webhook; empty for the whole server' }),
  severity: Type.Enum(['warning', 'critical']),
  detail: Type.String(),
  raisedAt: Time,
  lastAt: Time,
  endedAt: nullable(Time),
  acknowledgedAt: nullable(Time),
  acknowledgedBy: nullable(Id),
})
export type Alert = Static<typeof Alert>

/** A fault of the program; alike ones are one. */
export const Fault = object({
  fingerprint: Type.String(),
  event: Type.String(),
  errorName: nullable(Type.String()),
  message: nullable(Type.String({ description: 'Redacted, as in the log' })),
  stack: nullable(Type.String()),
  count: Count,
  firstAt: Time,
  lastAt: Time,
  lastRequestId: nullable(Type.String()),
})
export type Fault = Static<typeof Fault>

/** A setting of this server; what is secret says only whether it is set. */
export const Setting = object({
  name: Type.String(),
  value: nullable(Type.String()),
  isSecret: Type.Boolean(),
  from: Type.Enum(['environment', 'file', 'default']),
})
export type Setting = Static<typeof Setting>

/** One thing that makes this server safer or less so. */
export const PostureCheck = object({
  name: Type.String(),
  state: Type.Enum(['good', 'advice', 'risk']),
  detail: Type.String(),
  fix: nullable(Type.String()),
})
export type PostureCheck = Static<typeof PostureCheck>

const read = { method: 'GET', access: 'admin', limit: 'admin', status: 200, errors: [] } as const

export const listAllTeams = endpoint({
  ...read,
  name: 'listAllTeams',
  summary: 'Every team of this server, newest first; `q` is the beginning of a name',
  path: '/api/v1/admin/teams',
  query: object({ ...PageQuery, q: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })) }),
  reply: page(ListedTeam),
})

export const listAllJobs = endpoint({
  ...read,
  name: 'listAllJobs',
  summary: 'Every job of this server, newest first',
  path: '/api/v1/admin/jobs',
  query: object({
    ...PageQuery,
    state: Type.Optional(JobState),
    kind: Type.Optional(JobKind),
    teamId: Type.Optional(Id),
    projectId: Type.Optional(Id),
  }),
  reply: page(Job),
})

export const listAlerts = endpoint({
  ...read,
  name: 'listAlerts',
  summary: 'What wants a person, newest first; `state=open` leaves out what is over',
  path: '/api/v1/admin/alerts',
  query: object({ ...PageQuery, state: Type.Optional(Type.Enum(['open', 'all'])) }),
  reply: page(Alert),
})

export const acknowledgeAlert = endpoint({
  name: 'acknowledgeAlert',
  summary: 'Say that somebody looks after it',
  method: 'POST',
  path: '/api/v1/admin/alerts/:alertId/acknowledge',
  access: 'admin',
  limit: 'admin',
  params: object({ alertId: Id }),
  status: 200,
  reply: Alert,
  errors: ['alert_not_found'],
})

export const listFaults = endpoint({
  ...read,
  name: 'listFaults',
  summary: 'Faults of the program, the latest first',
  path: '/api/v1/admin/errors',
  reply: object({ items: Type.Array(Fault) }),
})

export const listSettings = endpoint({
  ...read,
  name: 'listSettings',
  summary: 'How this server is configured, without any secret; changed in its environment',
  path: '/api/v1/admin/settings',
  reply: object({ items: Type.Array(Setting) }),
})

export const getPosture = endpoint({
  ...read,
  name: 'getPosture',
  summary: 'What makes this server safer or less so, and what to do about it',
  path: '/api/v1/admin/posture',
  reply: object({ items: Type.Array(PostureCheck) }),
})

import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Count, Id, nullable, object, PageQuery, page, Time } from './values.ts'

/** One thing that somebody did, or was refused (requirement K1). Ids, never names: what they name may change or be erased. */
export const AuditEvent = object({
  id: Id,
  at: Time,
  actor: object({
    kind: Type.String({ description: 'nobody, user, key, worker or system' }),
    id: nullable(Type.String()),
  }),
  action: Type.String(),
  outcome: Type.Enum(['succeeded', 'refused']),
  target: nullable(object({ kind: Type.String(), id: Type.String() })),
  teamId: nullable(Id),
  projectId: nullable(Id),
  requestId: nullable(Type.String()),
  ip: nullable(
    Type.String({
      description: 'The network part of the address; for admins and the person, and gone when the person is erased',
    }),
  ),
  details: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])),
})
export type AuditEvent = Static<typeof AuditEvent>

const Word = Type.String({ pattern: '^[A-Za-z0-9_.:-]{1,100}$' })

/** Which events; what is not given matches all. */
const filters = {
  teamId: Type.Optional(Id),
  projectId: Type.Optional(Id),
  actor: Type.Optional(Type.String({ ...Word, description: 'The id of a person, key or worker' })),
  action: Type.Optional(Type.String({ ...Word, description: 'Such as `session.started`' })),
  target: Type.Optional(Type.String({ ...Word, description: 'The id of what it was done to' })),
  outcome: Type.Optional(Type.Enum(['succeeded', 'refused'])),
  since: Type.Optional(Time),
  until: Type.Optional(Type.String({ format: 'date-time', description: 'Up to, but without, this moment' })),
}

const reads = { method: 'GET', access: 'teams:read', limit: 'read', status: 200 } as const

export const listAudit = endpoint({
  ...reads,
  name: 'listAudit',
  summary:
    'The audit log, newest first: all of it for admins, that of a team for its owners. A page may be shorter than asked for, and still not the last',
  path: '/api/v1/audit',
  query: object({ ...PageQuery, ...filters }),
  reply: page(AuditEvent),
  errors: ['permission_denied', 'team_not_found'],
})

export const exportAudit = endpoint({
  ...reads,
  name: 'exportAudit',
  summary: 'The same as a file, oldest first: CSV, or a JSON object a line; one at a time for each person',
  path: '/api/v1/audit/export',
  limit: 'auth',
  query: object({ ...filters, format: Type.Optional(Type.Enum(['csv', 'jsonl'])) }),
  reply: null,
  produces: 'text/csv',
  errors: ['permission_denied', 'team_not_found', 'export_running'],
})

export const exportAuditLog = endpoint({
  ...reads,
  name: 'exportAuditLog',
  summary:
    'The whole log with its checkpoints, as JSON lines that prove themselves: `hivesync audit verify --export`. What is personal in it is sealed',
  path: '/api/v1/audit/log',
  access: 'admin',
  limit: 'auth',
  reply: null,
  produces: 'application/jsonl',
  errors: ['export_running'],
})

const Hashes = Type.Array(Type.String(), { description: 'SHA-256 in base64, in the order of RFC 6962' })

export const AuditCheckpoint = object({
  origin: Type.String(),
  size: Count,
  root: Type.String({ description: 'The RFC 6962 root, base64' }),
  at: Time,
  note: Type.String({ description: 'The signed note (C2SP tlog-checkpoint): keep it elsewhere' }),
  keys: Type.Array(Type.String(), { description: 'The verifier keys of this log, oldest first' }),
})
export type AuditCheckpoint = Static<typeof AuditCheckpoint>

export const getAuditCheckpoint = endpoint({
  ...reads,
  name: 'getAuditCheckpoint',
  summary: 'The newest signed head of the log',
  path: '/api/v1/audit/checkpoint',
  reply: AuditCheckpoint,
  errors: ['audit_empty'],
})

const Size = Type.String({ pattern: '^(0|[1-9][0-9]{0,14})$' })

export const AuditProof = object({
  seq: Count,
  leaf: Type.String({ description: 'What the leaf hashes: RFC 8785 canonical JSON' }),
  size: Count,
  hashes: Hashes,
  checkpoint: nullable(Type.String({ description: 'The signed note of this size, if one was signed' })),
})
export type AuditProof = Static<typeof AuditProof>

export const getAuditProof = endpoint({
  ...reads,
  name: 'getAuditProof',
  summary:
    'That an event is in the log: its leaf, and the hashes up to the root; of the newest checkpoint unless a size is given',
  path: '/api/v1/audit/proof',
  query: object({ eventId: Id, size: Type.Optional(Size) }),
  reply: AuditProof,
  errors: ['audit_event_not_found', 'audit_size_unknown'],
})

export const AuditConsistency = object({ from: Count, to: Count, hashes: Hashes })
export type AuditConsistency = Static<typeof AuditConsistency>

export const getAuditConsistency = endpoint({
  ...reads,
  name: 'getAuditConsistency',
  summary: 'That the log of `to` leaves begins with that of `from`: nothing was changed or taken out between them',
  path: '/api/v1/audit/consistency',
  query: object({ from: Size, to: Type.Optional(Size) }),
  reply: AuditConsistency,
  errors: ['audit_size_unknown'],
})

/** The tables of the audit log; the SQL in migrations/ is the source. Hashes are base64. */
export interface AuditSchema {
  auditEvents: AuditEvents
  /** A view: what is inserted becomes an event and its row in `auditPending`. `subject` is the person whose address it is. */
  auditEntries: AuditEvents & { subject: string | null }
  auditPending: { eventId: string; subject: string | null; ip: string | null }
  auditLeaves: { seq: number; eventId: string; subject: string | null; sealed: string | null; hash: string }
  auditNodes: { level: number; position: number; hash: string }
  auditCheckpoints: { size: number; root: string; at: number; note: string }
  auditKeys: { id: string; origin: string; publicKey: string; firstSize: number; createdAt: number }
  auditSubjects: { userId: string; sealedKey: string; createdAt: number }
  auditShipping: {
    sink: string
    nextSeq: number
    nextCheckpoint: number
    owner: string | null
    leaseUntil: number
  }
}

export interface AuditEvents {
  id: string
  at: number
  actorKind: string
  actorId: string | null
  teamId: string | null
  projectId: string | null
  action: string
  targetKind: string | null
  targetId: string | null
  outcome: 'succeeded' | 'refused'
  requestId: string | null
  /** Null where it is somebody's: then it lies in the leaf, sealed. */
  ip: string | null
  details: string
}

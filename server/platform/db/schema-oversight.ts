/** The tables of what admins are told; the SQL in migrations/ is the source. */
export interface OversightSchema {
  alerts: Alerts
  faults: Faults
}

interface Alerts {
  id: string
  kind: string
  subject: string
  severity: 'warning' | 'critical'
  detail: string
  raisedAt: number
  lastAt: number
  endedAt: number | null
  acknowledgedAt: number | null
  acknowledgedBy: string | null
}

interface Faults {
  fingerprint: string
  event: string
  errorName: string | null
  message: string | null
  stack: string | null
  count: number
  firstAt: number
  lastAt: number
  lastRequestId: string | null
}

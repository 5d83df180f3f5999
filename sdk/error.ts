import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import type { Problem } from '@hivesync/contracts/values.ts'

/** What the client itself finds wrong, beside the codes of the server's catalog. */
export type ClientCode =
  | 'unreachable'
  | 'timed_out'
  | 'unexpected_reply'
  | 'reply_too_large'
  | 'redirected'
  | 'not_logged_in'
  | 'insecure_server'
  | 'unreadable_address'

interface Parts {
  title: string
  status?: number | undefined
  requestId?: string | undefined
  detail?: string | undefined
  fields?: Problem['fields'] | undefined
  retryAfterSeconds?: number | undefined
  cause?: unknown
}

/**
 * A call that did not succeed. `code` is the server's (see the error catalog; a newer server may know more) or one of
 * ClientCode; `status` is null when no reply was had. All text in it may come from the server: escape it before it is shown.
 */
export class HiveSyncError extends Error {
  readonly code: ErrorCode | ClientCode | (string & Record<never, never>)
  readonly title: string
  readonly status: number | null
  readonly requestId: string | null
  readonly detail: string | null
  readonly fields: NonNullable<Problem['fields']>
  readonly retryAfterSeconds: number | null

  constructor(code: HiveSyncError['code'], parts: Parts) {
    super(parts.detail === undefined ? parts.title : `${parts.title}: ${parts.detail}`, { cause: parts.cause })
    this.name = 'HiveSyncError'
    this.code = code
    this.title = parts.title
    this.status = parts.status ?? null
    this.requestId = parts.requestId ?? null
    this.detail = parts.detail ?? null
    this.fields = parts.fields ?? []
    this.retryAfterSeconds = parts.retryAfterSeconds ?? null
  }
}

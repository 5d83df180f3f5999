import { type ErrorCode, errorCatalog } from '@hivesync/contracts/errors.ts'
import type { Problem } from '@hivesync/contracts/values.ts'

export interface RefusalOptions {
  /** A sentence for the client that makes the refusal actionable; must hold nothing secret. */
  detail?: string
  fields?: { path: string; message: string }[]
  headers?: Record<string, string>
}

/** A refusal from the catalog. `details` go to the log only; `options.detail` and `options.fields` reach the client. */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly details: Record<string, unknown>
  readonly options: RefusalOptions

  constructor(code: ErrorCode, details: Record<string, unknown> = {}, options: RefusalOptions = {}) {
    super(code)
    this.name = 'AppError'
    this.code = code
    this.details = details
    this.options = options
  }

  get status(): number {
    return errorCatalog[this.code][0]
  }
}

/** The `application/problem+json` body of a refusal (RFC 9457). */
export function toProblem(code: ErrorCode, requestId: string, options: RefusalOptions = {}): Problem {
  const [status, title] = errorCatalog[code]
  const problem: Problem = { type: `urn:hivesync:error:${code}`, title, status, code, requestId }
  if (options.detail !== undefined) problem.detail = options.detail
  if (options.fields !== undefined) problem.fields = options.fields
  return problem
}

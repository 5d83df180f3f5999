import { IngestResult } from '@hivesync/contracts/job-kinds.ts'
import { conforms } from '@hivesync/contracts/schema.ts'
import { AppError } from '../platform/errors.ts'

/** Refuses a completion whose result is not that of an ingest: what it says is published. */
export function requireIngestResult(result: unknown): IngestResult {
  if (conforms(IngestResult, result)) return result
  throw new AppError(
    'invalid_request',
    {},
    { fields: [{ path: 'body/result', message: 'must hold commit, branch, files and bytes' }] },
  )
}

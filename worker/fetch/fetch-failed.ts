export type FetchFailureCode =
  | 'repository_not_found'
  | 'ref_not_found'
  | 'repository_empty'
  | 'redirect_refused'
  | 'host_refused'
  | 'too_large'
  | 'timeout'
  | 'repository_refused'
  | 'authentication_required'
  | 'fetch_failed'

const messages: Readonly<Record<FetchFailureCode, string>> = {
  repository_not_found: 'There is no repository at this address.',
  ref_not_found: 'The repository has no such branch, tag or commit.',
  repository_empty: 'The repository has no commits.',
  redirect_refused: 'The server redirects to another address; name that one instead.',
  host_refused: 'The host does not lead to a public address, or is not on the allow list.',
  too_large: 'The repository is larger than this worker accepts.',
  timeout: 'The repository could not be fetched in time.',
  repository_refused: 'The repository may not be ingested.',
  authentication_required: 'The repository does not exist, or needs credentials to be read.',
  fetch_failed: 'The repository could not be fetched.',
}

const retryableCodes: ReadonlySet<FetchFailureCode> = new Set(['timeout', 'fetch_failed'])

/**
 * A repository could not be ingested. `message` is fit for the user: our own words only. `detail` is for the worker's
 * log: at most 300 printable characters of what git or the proxy said (git sees no credentials and no host paths).
 */
export class FetchFailed extends Error {
  readonly code: FetchFailureCode
  readonly retryable: boolean
  readonly detail: string

  constructor(
    code: FetchFailureCode,
    options: { message?: string; detail?: string; retryable?: boolean; cause?: unknown } = {},
  ) {
    super(options.message ?? messages[code], { cause: options.cause })
    this.name = 'FetchFailed'
    this.code = code
    this.retryable = options.retryable ?? retryableCodes.has(code)
    this.detail = (options.detail ?? '').replace(/[^\x20-\x7e]+/g, ' ').slice(0, 300)
  }
}

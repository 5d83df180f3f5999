import { HiveSyncError } from '@hivesync/sdk'
import { exitCode, type exitCodes } from './exit-codes.ts'

/** A refusal by the command line itself. */
export class CliError extends Error {
  readonly code: string
  readonly reason: keyof typeof exitCodes
  readonly hint: string | undefined

  constructor(code: string, reason: keyof typeof exitCodes, message: string, hint?: string) {
    super(message)
    this.name = 'CliError'
    this.code = code
    this.reason = reason
    this.hint = hint
  }
}

export function usageError(message: string, hint?: string): CliError {
  return new CliError('usage', 'usage', message, hint)
}

/** Everything a person or a script needs to act on a failure. Text in it may come from the server. */
export interface Failure {
  code: string
  message: string
  detail?: string
  hint?: string
  fields?: readonly { path: string; message: string }[]
  status?: number
  requestId?: string
  retryAfterSeconds?: number
  exitCode: number
}

const login = 'Log in with: hivesync login'
const hints: Readonly<Record<string, string>> = {
  not_logged_in: login,
  session_revoked: login,
  invalid_refresh_token: `The session has ended. ${login}`,
  token_expired: login,
  invalid_token: login,
  setup_required: 'Create the first admin with: hivesync setup',
  already_set_up: login,
  unreachable: 'Check the address (--server), and that the server runs: hivesync serve',
  insecure_server: 'If the network between is trusted, say so with --allow-http',
  unexpected_reply: 'Check the address (--server): a proxy or another program may be answering',
  permission_denied:
    'If this is an API key: it lacks the scope, or only a person who is logged in may do it. See: hivesync auth status',
  device_proof_required: `The session is bound to a key that is not in this profile. ${login}`,
  invalid_device_proof: `Set this machine’s clock. If that is not it: ${login}`,
  invalid_mfa_token: `The second factor came too late or was wrong too often. ${login}`,
  email_unverified: 'Open the link in the mail that was sent to the address',
  device_login_denied: 'If that was not you: somebody knew the code. Begin again: hivesync login --browser',
  step_up_required: 'Somebody must prove who they are: run it on a terminal, or say --password-stdin or --code CODE',
  step_up_failed: 'The password or code was not right, or was used already',
  queue_full: 'See what is waiting: hivesync job ls --state queued',
}

/** Describes anything thrown; an error of ours that nobody expected keeps its message and is marked `internal_error`. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CliError) {
    return {
      code: error.code,
      message: error.message,
      ...optional('hint', error.hint),
      exitCode: exitCode(error.reason),
    }
  }
  if (error instanceof HiveSyncError) {
    const fields = error.fields.filter(({ message }) => message !== error.detail)
    return {
      code: error.code,
      message: error.title,
      ...optional('detail', error.detail),
      ...optional('hint', hintFor(error)),
      ...(fields.length === 0 ? {} : { fields }),
      ...optional('status', error.status),
      ...optional('requestId', error.requestId),
      ...optional('retryAfterSeconds', error.retryAfterSeconds),
      exitCode: exitCode(reasonOf(error)),
    }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'internal_error', message, exitCode: exitCode('failed') }
}

function hintFor(error: HiveSyncError): string | undefined {
  const isBadId = error.code === 'invalid_request' && error.fields.some(({ path }) => path.startsWith('params/'))
  const hint = isBadId ? 'That is not an id; ids are listed by `hivesync job ls` and the like' : hints[error.code]
  if (error.retryAfterSeconds === null) return hint
  const wait = `Try again in ${error.retryAfterSeconds} s`
  return hint === undefined ? wait : `${wait}. ${hint}`
}

function optional<Key extends string, Value>(key: Key, value: Value | null | undefined): { [key in Key]?: Value } {
  const member: { [key in Key]?: Value } = {}
  if (value !== null && value !== undefined) member[key] = value
  return member
}

const byCode: Readonly<Record<string, keyof typeof exitCodes>> = {
  unreachable: 'unreachable',
  timed_out: 'unreachable',
  redirected: 'unreachable',
  reply_too_large: 'unreachable',
  not_logged_in: 'denied',
  insecure_server: 'configuration',
  unreadable_address: 'usage',
  invalid_request: 'usage',
  queue_full: 'conflict',
}

/** Whether the same request may well succeed a little later. */
export function isPassing(error: HiveSyncError): boolean {
  return error.code === 'unreachable' || error.code === 'timed_out' || reasonOf(error) === 'temporary'
}

function reasonOf(error: HiveSyncError): keyof typeof exitCodes {
  const named = byCode[error.code]
  if (named !== undefined) return named
  const { status } = error
  // 502, 503 and 504 are how a proxy says that the server behind it is away for now.
  if (status === 408 || status === 429 || status === 502 || status === 503 || status === 504) return 'temporary'
  if (error.code === 'unexpected_reply') return 'unreachable'
  if (status === 401 || status === 403) return 'denied'
  if (status === 404) return 'notFound'
  if (status === 409) return 'conflict'
  return 'failed'
}

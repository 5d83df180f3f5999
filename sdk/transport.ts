import { HiveSyncError } from './error.ts'
import type { PreparedRequest } from './request.ts'

export interface Transport {
  fetch: typeof fetch
  userAgent: string
}

export interface SendOptions {
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Until the reply's headers; the caller bounds the body. */
  timeout: AbortSignal
}

/** Sends one request and follows no redirect. Throws `unreachable` or `timed_out`, or the caller's own abort reason. */
export async function send(transport: Transport, request: PreparedRequest, options: SendOptions): Promise<Response> {
  const { timeout, signal } = options
  try {
    return await transport.fetch(request.url, {
      method: request.method,
      headers: { ...request.headers, 'user-agent': transport.userAgent, ...options.headers },
      redirect: 'manual',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(request.body === undefined ? {} : { body: request.body }),
    })
  } catch (error) {
    throw explainFailure(error, request.url, options)
  }
}

/** Names what went wrong on the way; an abort by the caller stays the caller's. */
export function explainFailure(error: unknown, url: string, options: { signal?: AbortSignal | undefined }): unknown {
  if (options.signal?.aborted) return options.signal.reason
  if (error instanceof HiveSyncError) return error
  const origin = new URL(url).origin
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new HiveSyncError('timed_out', { title: 'The server did not answer in time', detail: origin, cause: error })
  }
  return new HiveSyncError('unreachable', {
    title: 'The server cannot be reached',
    detail: `${origin} (${reasonOf(error)})`,
    cause: error,
  })
}

/** fetch hides the system's reason in `cause`, and that of several addresses in an AggregateError. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.cause !== undefined) return reasonOf(error.cause)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}

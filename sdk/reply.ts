import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { knownPart } from '@hivesync/contracts/schema.ts'
import { Problem } from '@hivesync/contracts/values.ts'
import { HiveSyncError } from './error.ts'

/** What a reply says, once its body has been read and judged; 204 and the like give undefined. Throws HiveSyncError. */
export async function readReply(endpoint: Endpoint, response: Response, maxBytes: number): Promise<unknown> {
  if (!response.ok) throw await readProblem(response, maxBytes)
  if (endpoint.reply === null || response.status === endpoint.emptyStatus) {
    await response.body?.cancel()
    return undefined
  }
  if (mediaType(response) !== 'application/json') throw await unexpected(response, 'it is not JSON')
  const value = parse(await readText(response, maxBytes))
  if (value === undefined) throw await unexpected(response, 'it is not valid JSON')
  const known = knownPart(endpoint.reply, value)
  if (known === undefined) throw await unexpected(response, `it is not what ${endpoint.name} answers with`)
  return known
}

/** The refusal that a reply with a status outside 200-299 states; never throws for what a proxy may have put in its place. */
export async function readProblem(response: Response, maxBytes: number): Promise<HiveSyncError> {
  if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
    await response.body?.cancel()
    return new HiveSyncError('redirected', {
      title: 'The server answered with a redirect',
      status: response.status,
      detail: 'It is not followed, because the credentials would travel with it. Use the address it points to',
    })
  }
  if (mediaType(response) !== 'application/problem+json') return unexpected(response, 'it is not a problem document')
  const value = parse(await readText(response, maxBytes))
  const problem = value === undefined ? undefined : knownPart(Problem, value)
  if (problem === undefined) return unexpected(response, 'its problem document cannot be read')
  if (problem.status !== response.status) return unexpected(response, 'its problem document names another status')
  return new HiveSyncError(problem.code, { ...problem, retryAfterSeconds: readRetryAfter(response) })
}

/** Delta-seconds of Retry-After (RFC 9110 §10.2.3); HiveSync sends no dates. */
function readRetryAfter(response: Response): number | undefined {
  const text = response.headers.get('retry-after')
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) : undefined
}

async function unexpected(response: Response, why: string): Promise<HiveSyncError> {
  if (!response.bodyUsed) await response.body?.cancel()
  const type = mediaType(response)
  return new HiveSyncError('unexpected_reply', {
    title: 'The reply does not come from a HiveSync server',
    status: response.status,
    detail: `HTTP ${response.status}${type === '' ? '' : ` ${type}`}: ${why}`,
    requestId: response.headers.get('x-request-id') ?? undefined,
    retryAfterSeconds: readRetryAfter(response),
  })
}

function mediaType(response: Response): string {
  return (response.headers.get('content-type') ?? '').split(';', 1).join('').trim().toLowerCase()
}

async function readText(response: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) {
      throw new HiveSyncError('reply_too_large', {
        title: 'The reply is larger than this client accepts',
        status: response.status,
        detail: `more than ${maxBytes} bytes`,
      })
    }
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the caller turns it into a refusal; JSON has no undefined of its own
  }
}

import type { BodyOf, Endpoint, ParamsOf, QueryOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type { Session } from '@hivesync/contracts/sessions.ts'
import { type Bearer, type Credentials, createBearer } from './credentials.ts'
import { HiveSyncError } from './error.ts'
import { type EventsOptions, followEvents } from './events.ts'
import { readProblem, readReply } from './reply.ts'
import { type PreparedRequest, prepareRequest, type RequestInput } from './request.ts'
import { parseServerAddress, type ServerAddress } from './server-address.ts'
import type { ServerSentEvent } from './server-sent-events.ts'
import { explainFailure, send, type Transport } from './transport.ts'

type Member<E, Key extends 'params' | 'query' | 'body', Value> = E extends { [key in Key]: object }
  ? Partial<Value> extends Value
    ? { [key in Key]?: Value }
    : { [key in Key]: Value }
  : { [key in Key]?: undefined }

/** What one operation needs: exactly the parts that its contract declares. */
export type CallInput<E> = Member<E, 'params', ParamsOf<E>> &
  Member<E, 'query', QueryOf<E>> &
  Member<E, 'body', BodyOf<E>> & {
    idempotencyKey?: string | undefined
    signal?: AbortSignal | undefined
    /** What an operation takes that takes bytes. */
    content?: E extends { consumes: string } ? Blob : undefined
    /** The fresh proof that a sensitive operation needs: see `describeAct`. */
    stepUp?: E extends { stepUp: true } ? string | undefined : undefined
  }

type Arguments<E> = Partial<CallInput<E>> extends CallInput<E> ? [input?: CallInput<E>] : [input: CallInput<E>]

export interface Client {
  readonly server: ServerAddress
  /** Calls one operation; resolves with the reply its contract declares, or throws HiveSyncError. */
  call<const E extends Endpoint>(endpoint: E, ...input: Arguments<E>): Promise<ReplyOf<E>>
  /** Refreshes the session now and answers what the server says of it; with a device key the first refresh binds the session to it. Throws HiveSyncError. */
  refreshSession(): Promise<Session>
  /** Opens a link that this server has signed, at the address this client knows it by and without credentials; the caller reads the body. Throws HiveSyncError. */
  openLink(link: string, options?: { signal?: AbortSignal }): Promise<Response>
  /** Follows an event stream across lost connections until `isFinal` says so; throws HiveSyncError. */
  events<const E extends Endpoint>(
    endpoint: E,
    input: CallInput<E>,
    options: EventsOptions,
  ): AsyncGenerator<ServerSentEvent, void, undefined>
}

export interface ClientOptions {
  /** `https://host[:port]`; `http:` only to this machine, unless `allowHttp`. */
  server: string
  credentials?: Credentials | undefined
  allowHttp?: boolean | undefined
  fetch?: typeof fetch | undefined
  userAgent?: string | undefined
  /** From the request to the end of the reply; 30 s unless given. */
  timeoutMs?: number | undefined
  /** 32 MiB unless given: a full page of the largest log chunks is 200 × 16 KiB, six bytes per escaped character. */
  maxReplyBytes?: number | undefined
  /** Epoch milliseconds: `Date.now`. */
  now: () => number
  /** 0 to 1, spreads reconnections: `Math.random`. */
  random: () => number
}

/** An upload may take as long as its bytes take at 50 KB/s. */
const slowestBytesPerMs = 50

/** Turns contracts into typed calls on one server; an expired session is refreshed and the call sent again, once. */
export function createClient(options: ClientOptions): Client {
  const server = parseServerAddress(options.server, { allowHttp: options.allowHttp ?? false })
  const transport: Transport = { fetch: options.fetch ?? fetch, userAgent: options.userAgent ?? 'hivesync-sdk' }
  const bearer = createBearer(options.credentials, { server, transport, now: options.now })
  const timeoutMs = options.timeoutMs ?? 30_000
  const maxReplyBytes = options.maxReplyBytes ?? 32 * 1024 * 1024

  async function call<const E extends Endpoint>(endpoint: E, ...[input]: Arguments<E>): Promise<ReplyOf<E>> {
    const given: RequestInput = input ?? {}
    const request = prepareRequest(server, endpoint, given)
    const timeout = AbortSignal.timeout(timeoutMs + Math.ceil((given.content?.size ?? 0) / slowestBytesPerMs))
    const { signal } = given
    const response = await sendAs(bearer, endpoint, (headers) => send(transport, request, { timeout, signal, headers }))
    try {
      // readReply has judged the value by this very contract: the one place where that proof becomes a type.
      return (await readReply(endpoint, response, maxReplyBytes)) as ReplyOf<E>
    } catch (error) {
      throw explainFailure(error, request.url, { signal })
    }
  }

  async function openStream(endpoint: Endpoint, request: PreparedRequest, signal: AbortSignal, lastEventId: string) {
    const resume: Record<string, string> = lastEventId === '' ? {} : { 'last-event-id': lastEventId }
    const headersTimer = new AbortController()
    const timer = setTimeout(() => headersTimer.abort(new DOMException('no reply', 'TimeoutError')), timeoutMs)
    try {
      return await sendAs(bearer, endpoint, (headers) =>
        send(transport, request, { timeout: headersTimer.signal, signal, headers: { ...resume, ...headers } }),
      )
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    server,
    call,
    refreshSession: bearer.refreshSession,
    async openLink(link, { signal } = {}) {
      const { pathname, search } = new URL(link)
      const request = { url: `${server}${pathname}${search}`, method: 'GET', headers: { accept: '*/*' } }
      const headersTimer = new AbortController()
      const timer = setTimeout(() => headersTimer.abort(new DOMException('no reply', 'TimeoutError')), timeoutMs)
      try {
        const response = await send(transport, request, { timeout: headersTimer.signal, signal })
        if (!response.ok) throw await readProblem(response, maxReplyBytes)
        return response
      } finally {
        clearTimeout(timer)
      }
    },
    events(endpoint, input, eventsOptions) {
      const given: RequestInput = input
      const request = prepareRequest(server, endpoint, given)
      return followEvents(
        {
          open: (lastEventId, signal) => openStream(endpoint, request, signal, lastEventId),
          explain: (error, signal) => explainFailure(error, request.url, { signal }),
          readProblem: (response) => readProblem(response, maxReplyBytes),
          random: options.random,
          signal: given.signal,
        },
        eventsOptions,
      )
    },
  }
}

/** Sends with the bearer; a token that the server calls expired is renewed and the request sent once more. */
async function sendAs(
  bearer: Bearer,
  endpoint: Endpoint,
  attempt: (headers: Record<string, string>) => Promise<Response>,
): Promise<Response> {
  if (endpoint.access === 'public') return attempt({})
  const token = await bearer.current()
  if (token === undefined) throw new HiveSyncError('not_logged_in', { title: 'There are no credentials' })
  const response = await attempt({ authorization: `Bearer ${token}` })
  if (response.status !== 401) return response
  const refusal = await readProblem(response, 64 * 1024)
  if (refusal.code !== 'token_expired' && refusal.code !== 'invalid_token') throw refusal
  const renewed = await bearer.renew(token)
  if (renewed === undefined) throw refusal
  return attempt({ authorization: `Bearer ${renewed}` })
}

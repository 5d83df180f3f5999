import type { Static, TObject, TSchema } from 'typebox'
import type { Access } from './access.ts'
import type { ErrorCode } from './errors.ts'

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/**
 * Which sliding window a request counts against (requirement I1); `worker` and `none` are not limited per minute. `session`, for ending sessions, and
 * `auth` count each session by itself, the others all of a person's together.
 */
export type LimitCategory = 'auth' | 'session' | 'read' | 'write' | 'admin' | 'worker' | 'none'

/** One HTTP operation as data: the server, the SDK, the OpenAPI document and the access matrix are all read from it. */
export interface Endpoint<
  Params extends TObject = TObject,
  Query extends TObject = TObject,
  Body extends TSchema = TSchema,
  Reply extends TSchema = TSchema,
> {
  /** `operationId` in OpenAPI. */
  readonly name: string
  readonly summary: string
  readonly method: Method
  readonly path: string
  readonly access: Access
  /**
   * The operation destroys or is sensitive: it needs a fresh proof of the person, bound to this session, operation, parameters and body,
   * in the header `Step-Up` (requirement A8; `POST /api/v1/auth/step-up` gives it). An API key can never have one.
   */
  readonly stepUp?: true
  readonly limit: LimitCategory
  /** Requests per minute of this operation alone, instead of its category's. */
  readonly perMinute?: number
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  /** Media type of a body that is no JSON: it is read as a stream, and not whole before the verb begins. */
  readonly consumes?: 'application/octet-stream'
  /** Largest accepted body in bytes; 64 KiB unless stated. */
  readonly maxBodyBytes?: number
  /** The status and body of success; `null` where there is no body (204) or where it is a stream. */
  readonly status: number
  readonly reply: Reply | null
  /** The status where there is nothing to tell, as the verb says by answering undefined: then the reply has no body. */
  readonly emptyStatus?: number
  /** Seconds for which anybody may keep the reply of success. Without it, and for every refusal, nobody may keep it at all. */
  readonly cacheSeconds?: number
  /** Media type of a reply that is not JSON. */
  readonly produces?: string
  /** The same request may ask for a WebSocket (RFC 6455): then what it streams comes as messages. */
  readonly upgrade?: 'websocket'
  /** Refusals that belong to this operation, beside those every operation can answer with. */
  readonly errors: readonly ErrorCode[]
}

export type ParamsOf<E> = E extends { params: infer P extends TObject } ? Static<P> : Record<string, never>
export type QueryOf<E> = E extends { query: infer Q extends TObject } ? Static<Q> : Record<string, never>
export type BodyOf<E> = E extends { body: infer B extends TSchema } ? Static<B> : undefined
export type ReplyOf<E> = E extends { reply: infer R extends TSchema }
  ? E extends { emptyStatus: number }
    ? Static<R> | undefined
    : Static<R>
  : undefined

/** States an operation; keeps the literal types so that verbs, SDK calls and replies are checked against it. */
export function endpoint<const E extends Endpoint>(operation: E): E {
  return Object.freeze(operation)
}

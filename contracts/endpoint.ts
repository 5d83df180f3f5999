import type { Static, TObject, TSchema } from 'typebox'
import type { Access } from './access.ts'
import type { ErrorCode } from './errors.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Which sliding window a request counts against (requirement I1); `worker` and `none` are not limited per minute. */
export type LimitCategory = 'auth' | 'read' | 'write' | 'admin' | 'worker' | 'none'

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
  readonly limit: LimitCategory
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  /** Largest accepted body in bytes; 64 KiB unless stated. */
  readonly maxBodyBytes?: number
  /** The status and body of success; `null` where there is no body (204) or where it is a stream. */
  readonly status: number
  readonly reply: Reply | null
  /** Media type of a reply that is not JSON. */
  readonly produces?: string
  /** Refusals that belong to this operation, beside those every operation can answer with. */
  readonly errors: readonly ErrorCode[]
}

export type ParamsOf<E> = E extends { params: infer P extends TObject } ? Static<P> : Record<string, never>
export type QueryOf<E> = E extends { query: infer Q extends TObject } ? Static<Q> : Record<string, never>
export type BodyOf<E> = E extends { body: infer B extends TSchema } ? Static<B> : undefined
export type ReplyOf<E> = E extends { reply: infer R extends TSchema } ? Static<R> : undefined

/** States an operation; keeps the literal types so that verbs, SDK calls and replies are checked against it. */
export function endpoint<const E extends Endpoint>(operation: E): E {
  return Object.freeze(operation)
}

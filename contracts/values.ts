import { type Static, type TObject, type TProperties, type TSchema, Type } from 'typebox'

/** An object that refuses keys it does not name (requirement I5). */
export function object<P extends TProperties>(properties: P): TObject<P> {
  return Type.Object(properties, { additionalProperties: false })
}
export const nullable = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])

/** UUIDv7, lower case. */
export const Id = Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' })
/** ISO 8601, UTC, milliseconds. */
export const Time = Type.String({ format: 'date-time' })
export const Cursor = Type.String({ minLength: 1, maxLength: 200, pattern: '^[A-Za-z0-9_.-]+$' })
/** A short text that people read: no control characters, not blank. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: '^[^\\u0000-\\u001f\\u007f]*[^\\s\\u0000-\\u001f\\u007f][^\\u0000-\\u001f\\u007f]*$',
})
/** Made by the server, or by the client in the header `X-Request-Id`. */
export const RequestId = Type.String({ pattern: '^[A-Za-z0-9_-]{8,64}$' })
/** W3C Trace Context, level 1. */
export const TraceParent = Type.String({ pattern: '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$' })
export const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

/** Query members of every list; query values arrive as text. */
export const PageQuery = {
  limit: Type.Optional(
    Type.String({ pattern: '^([1-9]|[1-9][0-9]|1[0-9]{2}|200)$', description: '1 to 200; 50 unless given' }),
  ),
  cursor: Type.Optional(Cursor),
}
/** A list reply: `nextCursor` is null on the last page. */
export const page = <S extends TSchema>(item: S) => object({ items: Type.Array(item), nextCursor: nullable(Cursor) })

/** `application/problem+json` (RFC 9457). */
export const Problem = object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  requestId: Type.String(),
  detail: Type.Optional(Type.String()),
  fields: Type.Optional(Type.Array(object({ path: Type.String(), message: Type.String() }))),
})
export type Problem = Static<typeof Problem>

import type { Static, TSchema } from 'typebox'
import { Check } from 'typebox/value'

export type { Static, TSchema }

/** Whether a value is what the schema says; the same rules that the server validates bodies by. */
export function conforms<S extends TSchema>(schema: S, value: unknown): value is Static<S> {
  return Check(schema, value)
}

import type { Static, TSchema } from 'typebox'
import { Check, Clean, Errors } from 'typebox/value'

export { Type } from 'typebox'
export type { Static, TSchema }

/** Whether a value is what the schema says; the same rules that the server validates bodies by. */
export function conforms<S extends TSchema>(schema: S, value: unknown): value is Static<S> {
  return Check(schema, value)
}

/** The part of a value that the schema knows; undefined when that part is not what the schema says. A newer peer may say more than we know. */
export function knownPart<S extends TSchema>(schema: S, value: unknown): Static<S> | undefined {
  const known = Clean(schema, value)
  return Check(schema, known) ? known : undefined
}

/** Where and why a value is not what the schema says. */
export function faultsOf(schema: TSchema, value: unknown): { path: string; message: string }[] {
  return Errors(schema, value).map((fault) => ({ path: fault.instancePath, message: fault.message }))
}

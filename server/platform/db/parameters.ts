import { DatabaseError } from './database-error.ts'

const int64Min = -(2n ** 63n)
const int64Max = 2n ** 63n - 1n

/**
 * Refuses parameters that the two databases would take differently, before they are sent: booleans (flags are nullable
 * times), undefined, NaN, unsafe integers, dates, arrays, objects, and text with a NUL (PostgreSQL has none).
 */
export function requirePortableParameters(parameters: readonly unknown[]): void {
  for (let index = 0; index < parameters.length; index++) {
    const problem = findProblem(parameters[index])
    if (problem !== undefined) {
      throw new DatabaseError('parameter_refused', `parameter ${index + 1} is ${problem}`)
    }
  }
}

function findProblem(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value.includes('\0') ? 'text with a NUL character' : undefined
    case 'number':
      if (!Number.isFinite(value)) return 'not a finite number'
      return Number.isInteger(value) && !Number.isSafeInteger(value) ? 'an integer beyond 2^53' : undefined
    case 'bigint':
      return value < int64Min || value > int64Max ? 'an integer beyond 64 bits' : undefined
    case 'boolean':
      return 'a boolean; flags are nullable times, or 0 and 1'
    case 'object':
      if (value === null || value instanceof Uint8Array) return undefined
      return Array.isArray(value) ? 'an array' : 'an object; write JSON as text, times as epoch milliseconds'
    default:
      return typeof value
  }
}

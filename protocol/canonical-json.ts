/** Values with exactly one spelling below; anything else is refused rather than guessed at. */
export type Canonical =
  | null
  | boolean
  | number
  | string
  | readonly Canonical[]
  | { readonly [name: string]: Canonical | undefined }

/** Forged input must not exhaust the stack: what is signed here is three levels deep. */
const maxDepth = 8

/**
 * The one spelling of a JSON value under RFC 8785 (JCS): members sorted by UTF-16 code units, no blanks, numbers and
 * strings as ECMAScript writes them. Members that are undefined count as absent. Throws a RangeError for what JSON cannot
 * say unambiguously: NaN and infinities, integers beyond 2^53, lone surrogates, other objects than plain ones, deep nesting.
 */
export function canonicalJson(value: Canonical): string {
  return write(value, maxDepth)
}

function write(value: unknown, depth: number): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return writeNumber(value)
  if (typeof value === 'string') return writeString(value)
  if (depth === 0) throw new RangeError('canonical JSON: nested too deeply')
  if (Array.isArray(value)) return `[${Array.from(value, (item) => write(item, depth - 1)).join(',')}]`
  if (typeof value !== 'object' || !isPlain(value)) throw new RangeError(`canonical JSON: not a value: ${typeof value}`)
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1)) // `<` on strings compares code units
    .map(([name, member]) => `${writeString(name)}:${write(member, depth - 1)}`)
  return `{${members.join(',')}}`
}

function writeNumber(value: number): string {
  // An integer beyond 2^53 is another number to a reader with 64-bit integers.
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    throw new RangeError('canonical JSON: not a number every reader reads alike')
  }
  return JSON.stringify(value)
}

function writeString(value: string): string {
  if (!value.isWellFormed()) throw new RangeError('canonical JSON: a lone surrogate')
  return JSON.stringify(value)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

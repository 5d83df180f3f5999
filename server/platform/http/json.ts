import { AppError } from '../errors.ts'

// A byte order mark is no JSON (RFC 8259 §8.1); a decoder that drops it would read another text than a proxy that does not.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses a JSON body strictly: valid UTF-8 without a byte order mark, no key twice in one object (parsers disagree on which wins: a filter can be
 * walked round), no `__proto__` key (prototype pollution), nesting of at most 64. Refuses with `malformed_json` or `duplicate_key`.
 */
export function parseJson(body: Uint8Array): unknown {
  let text: string
  let value: unknown
  try {
    text = decoder.decode(body)
    value = JSON.parse(text)
  } catch {
    throw new AppError('malformed_json')
  }
  refuseDuplicateKeys(text)
  return value
}

const maxDepth = 64

/** Walks a text that is known to be valid JSON: strings are the only tokens that need care. */
function refuseDuplicateKeys(text: string): void {
  const open: (Set<string> | null)[] = []
  let expectKey = false
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i)
    if (character === 0x22) {
      const end = endOfString(text, i)
      const keys = open[open.length - 1]
      if (expectKey && keys) addKey(keys, text.slice(i, end + 1))
      expectKey = false
      i = end
    } else if (character === 0x7b || character === 0x5b) {
      if (open.length === maxDepth)
        throw new AppError('malformed_json', {}, { detail: `Nested deeper than ${maxDepth}` })
      open.push(character === 0x7b ? new Set() : null)
      expectKey = character === 0x7b
    } else if (character === 0x7d || character === 0x5d) {
      open.pop()
      expectKey = false
    } else if (character === 0x2c) expectKey = open[open.length - 1] instanceof Set
  }
}

function endOfString(text: string, start: number): number {
  let end = start + 1
  while (text.charCodeAt(end) !== 0x22) end += text.charCodeAt(end) === 0x5c ? 2 : 1
  return end
}

function addKey(keys: Set<string>, literal: string): void {
  // "a" and "\u0061" are the same key.
  const key: unknown = literal.includes('\\') ? JSON.parse(literal) : literal.slice(1, -1)
  if (typeof key !== 'string' || key === '__proto__') throw new AppError('malformed_json')
  if (keys.has(key)) throw new AppError('duplicate_key')
  keys.add(key)
}

import { decodeBase64url } from './hash.ts'

/**
 * The header of a compact JWS, unproven; undefined unless the text is three parts of canonical base64url, no longer than
 * `maxLength`, and the first a JSON object. Each part has its one spelling: else a token had several, and a list of those
 * already seen would be passed by.
 */
export function readJoseHeader(text: string, maxLength: number): Record<string, unknown> | undefined {
  const parts = text.length <= maxLength ? text.split('.') : []
  const [header, payload, signature] = parts.map((part) => (part === '' ? undefined : decodeBase64url(part)))
  if (parts.length !== 3 || !header || !payload || !signature) return undefined
  try {
    const members: unknown = JSON.parse(header.toString('utf8'))
    return typeof members === 'object' && members !== null && !Array.isArray(members) ? { ...members } : undefined
  } catch {
    return undefined
  }
}

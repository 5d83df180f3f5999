import { type Scope, scopes } from '@hivesync/contracts/access.ts'

const known: ReadonlySet<string> = new Set(scopes)

/** Reads a stored list; a scope that this version does not know grants nothing. */
export function parseScopes(stored: string): Scope[] {
  const list: unknown = JSON.parse(stored)
  if (!Array.isArray(list)) throw new TypeError('stored scopes are no list')
  return list.filter((scope): scope is Scope => typeof scope === 'string' && known.has(scope))
}

// Makes passwords.filter of a list of common passwords, a JSON array with the most common first:
//   node server/accounts/blocklist/generate.ts node_modules/@zxcvbn-ts/language-common/src/passwords.json
// That list is © the authors of zxcvbn and zxcvbn-ts, under the MIT license; the filter holds 16 bits of a digest of each entry and no text.
import { readFileSync, writeFileSync } from 'node:fs'
import { buildPasswordFilter, passwordKey } from '../../platform/crypto/password-filter.ts'
import { shippedFilterPath } from '../blocklist.ts'
import { listCommonPasswords } from './candidates.ts'

/** The filter of the list that comes along, as the bytes of its file. */
export function generateBlocklist(common: readonly string[]): Buffer {
  return buildPasswordFilter(BigUint64Array.from([...listCommonPasswords(common)], passwordKey)).bytes
}

if (import.meta.main) {
  const [listPath] = process.argv.slice(2)
  if (listPath === undefined) throw new Error('usage: generate.ts LIST.json')
  const bytes = generateBlocklist(JSON.parse(readFileSync(listPath, 'utf8')))
  writeFileSync(shippedFilterPath, bytes)
  process.stdout.write(`${shippedFilterPath}: ${bytes.length} bytes\n`)
}

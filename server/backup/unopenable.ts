import { isOfUnknownSecret, type Keyring } from '../platform/crypto/keyring.ts'
import { headerBytes } from '../platform/crypto/sealed-frames.ts'
import { openCopy } from '../platform/db/copy/read-copy.ts'
import type { Place } from '../platform/store/place.ts'

/** How many sealed values and stored contents were sealed under secrets that are not listed: second factors, webhook keys, secrets of jobs would be lost. */
export async function countUnopenable(databaseUrl: string, place: Place, keyring: Keyring): Promise<number> {
  await using copy = await openCopy(databaseUrl)
  let count = 0
  for (const table of copy.tables) {
    const placesOf = (isMeant: (name: string) => boolean): number[] =>
      table.columns.flatMap((name, i) => (isMeant(name) ? [i] : []))
    const sealed = placesOf((name) => /^sealed(_|$)/.test(name))
    const keys = placesOf((name) => name === 'object_key')
    if (sealed.length + keys.length === 0) continue
    for await (const batch of copy.rows(table))
      for (const row of batch) {
        for (const i of sealed) if (isOfUnknownSecret(keyring, String(row[i]))) count += 1
        for (const i of keys) if (isOfUnknownSecret(keyring, await headOf(place, row[i]))) count += 1
      }
  }
  return count
}

/** What a stored content begins with; a sealed one with its sealed key. */
async function headOf(place: Place, key: unknown): Promise<string> {
  if (typeof key !== 'string' || !key.endsWith('e')) return ''
  const chunks: Buffer[] = []
  for await (const chunk of (await place.read(key, { start: 0, end: headerBytes - 1 })) ?? []) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

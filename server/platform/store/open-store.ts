import type { Clock } from '../clock.ts'
import type { StoreSettings } from '../config-store.ts'
import { createSha256 } from '../crypto/hash.ts'
import type { Keyring } from '../crypto/keyring.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import { createFolderPlace } from './folder-place.ts'
import type { Place } from './place.ts'
import { openContent, plainSize, sealContent } from './sealed-content.ts'
import type { Store } from './store.ts'

/** The store that the configuration names; nothing is made on the disk before the first content comes. */
export function openStore(
  settings: StoreSettings,
  { clock, random, keyring }: { clock: Clock; random: Random; keyring: Keyring },
): Store {
  const place: Place = createFolderPlace(settings.folder, clock)
  const isSealed = (key: string): boolean => key.endsWith('e')
  function newKey(): string {
    for (;;) {
      const key = Buffer.from(random.bytes(32)).toString('hex')
      if (settings.isEncrypted) return `${key}e`
      // One in sixteen ends so by chance, and would be taken for sealed.
      if (!isSealed(key)) return key
    }
  }
  return {
    async put(content, { maxBytes }) {
      const key = newKey()
      const running = createSha256()
      let bytes = 0
      async function* counted(): AsyncGenerator<Uint8Array> {
        for await (const chunk of content) {
          bytes += chunk.length
          if (bytes > maxBytes) throw new AppError('payload_too_large')
          running.update(chunk)
          yield chunk
        }
      }
      await place.write(key, isSealed(key) ? sealContent(keyring, key, counted()) : counted())
      return { key, bytes, sha256: running.hex() }
    },
    async get(key, range) {
      const content = isSealed(key) ? await openContent(keyring, place, key, range) : await place.read(key, range)
      if (content === undefined) throw new AppError('storage_unavailable', { reason: 'an object is missing' })
      return content
    },
    async size(key) {
      const stored = await place.size(key)
      return stored === undefined || !isSealed(key) ? stored : plainSize(stored)
    },
    remove: place.remove,
    list: place.list,
    removeUnfinished: place.removeUnfinished,
  }
}

import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Reader } from './config-reader.ts'

export interface StoreSettings {
  /** Absolute; its own, because everything in it that nothing refers to is removed. */
  readonly folder: string
  /** Whether contents are sealed under HIVESYNC_SECRET before they reach the disk. */
  readonly isEncrypted: boolean
}

/** `HIVESYNC_STORE_URL`: a folder, `file:///…`; below the data folder unless given. Of several servers with one database all must see the same. */
export function readStore(read: Reader, dataDir: string, problems: string[]): StoreSettings {
  const isEncrypted = read.oneOf('HIVESYNC_STORE_ENCRYPT', ['0', '1'], '0') === '1'
  const text = read.text('HIVESYNC_STORE_URL')
  const folder = text === null ? resolve(dataDir, 'store') : folderOf(text)
  if (folder === undefined)
    problems.push('HIVESYNC_STORE_URL must be file: and an absolute folder, such as file:///srv/hivesync/store')
  return Object.freeze({ folder: folder ?? '', isEncrypted })
}

function folderOf(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || url.protocol !== 'file:' || url.host !== '' || url.search + url.hash !== '') return undefined
  // `file:store` would be read as /store.
  if (!/^file:\/(\/\/)?[^/]/.test(text)) return undefined
  try {
    return fileURLToPath(url)
  } catch {
    return undefined // an encoded slash, which is a name no folder has
  }
}

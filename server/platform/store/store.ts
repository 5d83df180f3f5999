import type { ByteRange, Listed } from './place.ts'

export interface StoredObject {
  key: string
  bytes: number
  /** In hex. */
  sha256: string
}

/**
 * Contents too large for the database, under random keys that hold nothing of a person's words. Everything in it is private: it is reached through verbs that know
 * who may. What it cannot do it refuses with `storage_unavailable`.
 */
export interface Store {
  /** Keeps a content whole or not at all, and answers its key, size and digest; `payload_too_large` beyond `maxBytes`. What the content throws is thrown. */
  put(content: AsyncIterable<Uint8Array>, limits: { maxBytes: number }): Promise<StoredObject>
  /** All bytes, or a range of them; `storage_unavailable` when there is nothing under the key. */
  get(key: string, range?: ByteRange): Promise<AsyncIterable<Buffer>>
  /** The length of the content; undefined when there is nothing under the key. */
  size(key: string): Promise<number | undefined>
  /** Removing what is not there changes nothing. */
  remove(key: string): Promise<void>
  list(): AsyncIterable<Listed>
  /** Removes what was begun before this time and never became whole; answers how many. */
  removeUnfinished(before: number): Promise<number>
  /** An address under which a client may itself fetch or bring the content for some seconds; absent where all goes through the server. */
  presign?(key: string, method: 'GET' | 'HEAD' | 'PUT', seconds: number): Promise<string>
}

/** Which bytes: from `start` to `end`, both included. */
export interface ByteRange {
  start: number
  end: number
}

export interface Listed {
  key: string
  /** Epoch milliseconds. */
  storedAt: number
}

/** Where contents lie, by key: a folder, or a service that stores objects. It knows nothing of what they are. Refuses with `storage_unavailable` what it cannot do. */
export interface Place {
  /** Keeps a content whole or not at all; it is there after a crash once this has resolved. A key is never written twice. */
  write(key: string, content: AsyncIterable<Uint8Array>): Promise<void>
  /** Undefined when nothing has this key. The reader that leaves early frees what is held. */
  read(key: string, range?: ByteRange): Promise<AsyncIterable<Buffer> | undefined>
  size(key: string): Promise<number | undefined>
  /** Removing what is not there changes nothing. */
  remove(key: string): Promise<void>
  list(): AsyncIterable<Listed>
  /** Removes what was begun before this time and never became whole. */
  removeUnfinished(before: number): Promise<number>
}

/** 256 random bits in hex; `e` marks a content that is sealed, so that the setting may change and the old ones stay readable. */
const keyPattern = /^[0-9a-f]{64}e?$/

export function isObjectKey(key: string): boolean {
  return keyPattern.test(key)
}

/** Throws for a key that is none: whatever a caller took it from, it never becomes a path. */
export function requireObjectKey(key: string): void {
  if (!isObjectKey(key)) throw new RangeError('not a key of the store')
}

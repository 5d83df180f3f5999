import { createHash } from 'node:crypto'

/** A running SHA-256, in hex; `crypto.subtle` takes only what is in memory whole. */
export function createFileDigest() {
  const hash = createHash('sha256')
  return {
    update(bytes: Uint8Array): void {
      hash.update(bytes)
    },
    hex: (): string => hash.digest('hex'),
  }
}

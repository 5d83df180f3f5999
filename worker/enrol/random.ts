import { createHash, randomBytes } from 'node:crypto'

/** Where chance comes from: the operating system's generator. */
export interface Random {
  /** 128 random bits in base64url, for one signature and never again. */
  nonce(): string
  /** A number in [0, 1) for jitter. */
  fraction(): number
}

export const systemRandom: Random = {
  nonce: () => randomBytes(16).toString('base64url'),
  fraction: () => randomBytes(4).readUInt32LE() / 2 ** 32,
}

export interface Digest {
  update(bytes: Uint8Array): void
  /** Answers once. */
  hex(): string
}

/** A running SHA-256. */
export function createSha256(): Digest {
  const hash = createHash('sha256')
  return {
    update: (bytes) => {
      hash.update(bytes)
    },
    hex: () => hash.digest('hex'),
  }
}

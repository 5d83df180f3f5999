import type { Clock } from './clock.ts'
import { type RandomBytes, randomToken, secureRandomBytes } from './crypto/hash.ts'
import { createUuidv7 } from './crypto/uuidv7.ts'

/** Where chance comes from: the operating system's generator. */
export interface Random {
  bytes(count: number): Uint8Array
  /** A UUIDv7, growing within the process. An id is a name, never a secret (ASVS 11.5.1). */
  id(): string
  /** A secret of the given number of random bytes, base64url. */
  token(bytes?: number): string
  /** A number in [0, 1) for jitter. */
  fraction(): number
}

export function createRandom(clock: Clock): Random {
  const id = createUuidv7(clock.now, pooled(secureRandomBytes))
  return {
    bytes: secureRandomBytes,
    id,
    token: (bytes = 32) => randomToken(bytes),
    fraction: () => Buffer.from(secureRandomBytes(4)).readUInt32LE() / 2 ** 32,
  }
}

const poolBytes = 4096

/** The generator asked for a pool at a time: 4 µs a call is 6 % of a small request. For ids only, never for secrets, which must not lie about. */
function pooled(source: RandomBytes): RandomBytes {
  let pool: Uint8Array = new Uint8Array(0)
  let used = 0
  return (count) => {
    if (used + count > pool.length) {
      pool = source(Math.max(count, poolBytes))
      used = 0
    }
    used += count
    return pool.subarray(used - count, used)
  }
}

import type { Socket } from 'node:net'

/** Counts what flows out of a job against a cap. */
export interface Meter {
  bytes: number
}

/**
 * Hands chunks on as they come, up to `maxBytes` over everything on the same meter; at the cap the last chunk is cut,
 * `onFull` is called once and the rest is read and dropped, so nothing is ever held. Resolves when the stream has ended.
 */
export function pump(
  stream: Socket,
  meter: Meter,
  maxBytes: number,
  onChunk: (chunk: Buffer) => void,
  onFull: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      const room = maxBytes - meter.bytes
      if (room <= 0 && meter.bytes > maxBytes) return
      meter.bytes += chunk.length
      try {
        if (room > 0) onChunk(chunk.length > room ? chunk.subarray(0, room) : chunk)
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)))
      }
      if (meter.bytes > maxBytes) onFull()
    })
    stream.once('error', reject)
    stream.once('close', () => resolve())
  })
}

/** Largest `text` of one chunk, in UTF-8 bytes. */
export const maxChunkBytes = 16 * 1024

export type LogStream = 'stdout' | 'stderr' | 'system'

/** One piece of a job's log; `seq` counts from 0 over all streams of an attempt without a gap. */
export interface LogChunk {
  seq: number
  stream: LogStream
  /** Epoch milliseconds: when the worker read the bytes. */
  at: number
  text: string
}

export interface LogSplitter {
  /** Cuts the next bytes of a stream into chunks; an unfinished character waits for its remaining bytes. */
  push(stream: LogStream, bytes: Uint8Array): LogChunk[]
  /** Ends all streams: what still waits for its remaining bytes comes out as U+FFFD. */
  flush(): LogChunk[]
}

/**
 * Turns raw output into numbered chunks of at most 16 KiB that never split a character. Invalid bytes become U+FFFD, and
 * so does NUL, which PostgreSQL cannot store in text. Concatenating the chunks of a stream gives its decoded text.
 */
export function createLogSplitter(options: { firstSeq?: number; nowMs: () => number }): LogSplitter {
  let seq = options.firstSeq ?? 0
  const decoders = new Map<LogStream, InstanceType<typeof TextDecoder>>()

  function frame(stream: LogStream, decoded: string): LogChunk[] {
    const at = options.nowMs()
    return splitText(decoded.replaceAll('\0', '\ufffd')).map((text) => ({ seq: seq++, stream, at, text }))
  }

  return {
    push(stream, bytes) {
      const decoder = decoders.get(stream) ?? new TextDecoder('utf-8', { ignoreBOM: true })
      decoders.set(stream, decoder)
      return frame(stream, decoder.decode(bytes, { stream: true }))
    },
    flush() {
      const rest = [...decoders].flatMap(([stream, decoder]) => frame(stream, decoder.decode()))
      decoders.clear()
      return rest
    },
  }
}

/** What is wrong with a received chunk's text, or undefined: too long, NUL, or a lone surrogate would not have come from the splitter. */
export function findChunkFault(text: string): string | undefined {
  if (text.length === 0) return 'a log chunk is empty'
  if (Buffer.byteLength(text) > maxChunkBytes) return `a log chunk is longer than ${maxChunkBytes} bytes`
  if (text.includes('\0') || !text.isWellFormed()) return 'a log chunk holds characters that are not text'
  return undefined
}

function splitText(text: string): string[] {
  const bytes = Buffer.from(text)
  const parts: string[] = []
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(start + maxChunkBytes, bytes.length)
    // A byte 10xxxxxx continues a character: step back to where it begins.
    while (end < bytes.length && (bytes.readUInt8(end) & 0xc0) === 0x80) end--
    parts.push(bytes.toString('utf8', start, end))
    start = end
  }
  return parts
}

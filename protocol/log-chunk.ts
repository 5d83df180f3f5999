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
  /**
   * Which bytes of what the job printed to this stream the text stands for, counted before anything was cut out of it: each chunk begins where the last of its
   * stream ended. A chunk without text is a gap: these bytes were dropped. A remark of the worker's own has neither.
   */
  startByte?: number
  endByte?: number
}

export interface LogSplitter {
  /** Cuts the next bytes of a stream, which stand for all that was printed before `endByte`, into chunks; an unfinished character waits for its remaining bytes. */
  push(stream: LogStream, bytes: Uint8Array, endByte?: number): LogChunk[]
  /** Ends the text so far and says that all between it and `endByte` is missing. */
  skip(stream: LogStream, endByte: number): LogChunk[]
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
  /** Up to which byte of a stream its chunks reach, and what was pushed of it. */
  const told = new Map<LogStream, number>()
  const pushed = new Map<LogStream, number>()

  function frame(stream: LogStream, decoded: string): LogChunk[] {
    const at = options.nowMs()
    const parts = splitText(decoded.replaceAll('\0', '\ufffd'))
    return parts.map((text, i) => ({ seq: seq++, stream, at, text, ...rangeOf(stream, text, i === parts.length - 1) }))
  }

  /** Exact where nothing was cut out or replaced; else a part may claim some bytes of its neighbor, never more or less than all of them together. */
  function rangeOf(stream: LogStream, text: string, isLast: boolean): { startByte?: number; endByte?: number } {
    const end = pushed.get(stream)
    if (end === undefined) return {}
    const startByte = told.get(stream) ?? 0
    const endByte = isLast ? end : Math.min(end, startByte + Buffer.byteLength(text))
    told.set(stream, endByte)
    return { startByte, endByte }
  }

  function finish(stream: LogStream): LogChunk[] {
    const rest = decoders.get(stream)?.decode() ?? ''
    decoders.delete(stream)
    return frame(stream, rest)
  }

  return {
    push(stream, bytes, endByte) {
      const decoder = decoders.get(stream) ?? new TextDecoder('utf-8', { ignoreBOM: true })
      decoders.set(stream, decoder)
      if (endByte !== undefined) pushed.set(stream, endByte)
      return frame(stream, decoder.decode(bytes, { stream: true }))
    },
    skip(stream, endByte) {
      const rest = finish(stream)
      const startByte = told.get(stream) ?? 0
      told.set(stream, endByte)
      pushed.set(stream, endByte)
      return [...rest, { seq: seq++, stream, at: options.nowMs(), text: '', startByte, endByte }]
    },
    flush: () => [...decoders.keys()].flatMap(finish),
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

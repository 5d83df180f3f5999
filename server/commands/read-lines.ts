import { createReadStream } from 'node:fs'

export interface Line {
  /** From 1. */
  number: number
  /** Without its end; undefined when it is longer than allowed. */
  bytes: Buffer | undefined
}

const newline = 0x0a
const carriageReturn = 0x0d

/** The lines of a file, one at a time and with nothing cut from them but `\n` or `\r\n`; holds no more than one line and one chunk in memory. Throws the file system's errors. */
export async function* readLines(path: string, maxBytes: number): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0)
  let number = 0
  let isTooLong = false
  const finish = (bytes: Buffer): Line => {
    const line = { number: ++number, bytes: isTooLong || bytes.length > maxBytes ? undefined : withoutReturn(bytes) }
    isTooLong = false
    return line
  }
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const piece = chunk.subarray(start, end)
      yield finish(rest.length === 0 ? piece : Buffer.concat([rest, piece]))
      rest = Buffer.alloc(0)
      start = end + 1
    }
    const tail = chunk.subarray(start)
    rest = rest.length === 0 ? Buffer.from(tail) : Buffer.concat([rest, tail])
    if (rest.length > maxBytes) {
      isTooLong = true
      rest = Buffer.alloc(0)
    }
  }
  if (rest.length > 0 || isTooLong) yield finish(rest)
}

function withoutReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes
}

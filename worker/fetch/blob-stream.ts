import type { ListedFile } from './tree-listing.ts'

const newline = 10
/** `<oid> blob <size>`: the longest header has 64 + 1 + 4 + 1 + 16 bytes. */
const maxHeaderBytes = 128

/**
 * Parses `git cat-file --batch` as it streams in and hands over one blob per expected file, in order. Throws SyntaxError
 * when an object is missing, is no blob, or has another size than the tree said: the mirror is damaged.
 */
export function createBlobStream(expected: readonly ListedFile[], onBlob: (file: ListedFile, content: Buffer) => void) {
  let index = 0
  let header: Buffer = Buffer.alloc(0)
  let content: Buffer | undefined
  let filled = 0

  const begin = (line: string): void => {
    const file = expected[index]
    if (!file || line !== `${file.oid} blob ${file.bytes}`) throw new SyntaxError('unexpected cat-file answer')
    content = Buffer.allocUnsafe(file.bytes + 1) // the blob and the line feed that ends it
    filled = 0
  }

  const end = (complete: Buffer): void => {
    const file = expected[index]
    if (!file || complete[file.bytes] !== newline) throw new SyntaxError('unexpected cat-file answer')
    content = undefined
    index += 1
    onBlob(file, complete.subarray(0, file.bytes))
  }

  return {
    push(chunk: Buffer): void {
      let rest = chunk
      while (rest.length > 0) {
        if (content) {
          const copied = rest.copy(content, filled)
          filled += copied
          rest = rest.subarray(copied)
          if (filled === content.length) end(content)
          continue
        }
        const feed = rest.indexOf(newline)
        header = Buffer.concat([header, feed < 0 ? rest : rest.subarray(0, feed)])
        if (header.length > maxHeaderBytes) throw new SyntaxError('unexpected cat-file answer')
        rest = feed < 0 ? rest.subarray(rest.length) : rest.subarray(feed + 1)
        if (feed < 0) continue
        begin(header.toString('latin1'))
        header = Buffer.alloc(0)
      }
    },
    get isComplete() {
      return index === expected.length && !content
    },
  }
}

import { excerptOf } from './excerpt.ts'
import { foldCase } from './fold.ts'

/** A search, ready for an index: everything in it is literal text. */
export interface Wanted {
  /** Folded by `foldCase`, three characters or more, on one line. */
  text: string
  /** A part of the path, ASCII lower case; the case of ASCII letters in paths is ignored. */
  path: string | null
  /** A language's name, ASCII lower case. */
  language: string | null
}

/** A place in one index, in the order of results: by path, then by line. */
export interface Place {
  fileId: number
  line: number
}

export interface MatchingLine extends Place {
  path: string
  language: string | null
  excerpt: string
}

/** Lines of one file that a search shows; a generated file with a match on each of its lines must not fill all pages. */
export const maxLinesPerFile = 50

/** The first matching lines of a file. Lines end with LF or CRLF; a search never matches over the end of a line. */
export function matchLines(text: string, wanted: string): { line: number; excerpt: string }[] {
  const folded = foldCase(text)
  const lines: { line: number; excerpt: string }[] = []
  let line = 1
  let start = 0
  let at = folded.indexOf(wanted)
  while (at >= 0 && lines.length < maxLinesPerFile) {
    let end = folded.indexOf('\n', start)
    while (end >= 0 && end < at) {
      line++
      start = end + 1
      end = folded.indexOf('\n', start)
    }
    lines.push({ line, excerpt: excerptOf(text.slice(start, end < 0 ? undefined : end), at - start) })
    if (end < 0) break
    at = folded.indexOf(wanted, end)
  }
  return lines
}

/** Makes text that both databases store alike: lone surrogates and NUL (which PostgreSQL has none of) become U+FFFD. */
export function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd')
}

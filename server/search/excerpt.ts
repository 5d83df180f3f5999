const maxLength = 300
const leadLength = 100

// Beside control characters: the line separators, and the marks that make text read in another order than it is
// written (CVE-2021-42574), which would falsify what a terminal or a page shows.
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu

/**
 * At most 300 UTF-16 units of a line around the match at `at`, fit for a terminal: a tab is a space, other control and
 * direction characters are U+FFFD (escape sequences in a repository must not reach a terminal), no surrogate pair is cut.
 */
export function excerptOf(line: string, at: number): string {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line
  let start = Math.max(0, Math.min(at - leadLength, text.length - maxLength))
  let end = Math.min(text.length, start + maxLength)
  if (isInsidePair(text, start)) start++
  if (isInsidePair(text, end)) end--
  return text.slice(start, end).replaceAll('\t', ' ').replace(unprintable, '\ufffd')
}

function isInsidePair(text: string, index: number): boolean {
  const unit = text.charCodeAt(index)
  return index > 0 && unit >= 0xdc00 && unit <= 0xdfff
}

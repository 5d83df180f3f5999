/** Text from outside as both databases can hold it: PostgreSQL has no NUL, and one in a worker's text must not fail its report. */
export function storable(text: string): string {
  return text.replaceAll('\0', '\ufffd')
}

/** C0, DEL, C1, line and paragraph separators, and the marks that reorder or hide text (CVE-2021-42574). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const dangerous = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g
const names: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' }

/**
 * Text from elsewhere as one harmless line: every character a terminal might act on is shown as an escape. Stops a job's
 * output, a path or an error message from moving the cursor, setting the title, writing the clipboard or posing as a prompt.
 */
export function printable(text: string): string {
  return text.toWellFormed().replace(dangerous, escapeOf)
}

/** As `printable`, but lines stay lines and tabs stay tabs: for output that is text of its own. */
export function printableText(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .toWellFormed()
    .replace(dangerous, (character) => (character === '\n' || character === '\t' ? character : escapeOf(character)))
}

/** JSON that is one line of harmless characters and still the same document. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(dangerous, (character) => `\\u${hex(character).padStart(4, '0')}`)
}

function escapeOf(character: string): string {
  const code = hex(character)
  return names[character] ?? (code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u${code.padStart(4, '0')}`)
}

function hex(character: string): string {
  return character.charCodeAt(0).toString(16)
}

/** What a spreadsheet takes for the beginning of a formula, also behind what it skips (OWASP, CSV injection). */
const formula = /^\s*[=+\-@\t\r|%]/

/** One RFC 4180 record, every field quoted. A field that a spreadsheet would compute begins with an apostrophe, which it shows as text. */
export function csvRow(fields: readonly (string | null)[]): string {
  const cells = fields.map((field) => {
    const text = field ?? ''
    return `"${(formula.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`
  })
  return `${cells.join(',')}\r\n`
}

/** Tells the person who typed `npm start` something; stdout is for the machine-readable line. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

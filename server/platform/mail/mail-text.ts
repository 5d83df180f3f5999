import type { Context } from '../context.ts'
import { oneLine } from './message.ts'

const width = 76

/**
 * Lays a mail out as all our mails are. The paragraphs say, in this order: what happened and when; what to do, with a link as a paragraph of its
 * own; what to do if it was not you. Line breaks inside them are folded away, so that nobody's name begins a line; a link is left whole.
 */
export function mailText(ctx: Context, paragraphs: readonly string[]): string {
  // The separator that mail programs know (RFC 3676 §4.3).
  return `${paragraphs.map(fold).join('\n\n')}\n\n-- \nHiveSync at ${ctx.config.publicUrl}\n`
}

/**
 * Somebody else's text inside ours, such as a team's name: one line, in quotes, at most 60 characters, and nothing in it that a mail program
 * would make a link of.
 */
export function quoted(text: string): string {
  const plain = [...oneLine(text)].slice(0, 60).join('')
  return `"${plain.replaceAll('"', "'").replace(/([.:/@])(?=\S)/g, '$1 ')}"`
}

function fold(paragraph: string): string {
  let lines = ''
  let used = 0
  for (const word of oneLine(paragraph).split(' ')) {
    const fits = used > 0 && used + 1 + word.length <= width
    lines += used === 0 ? word : `${fits ? ' ' : '\n'}${word}`
    used = fits ? used + 1 + word.length : word.length
  }
  return lines
}

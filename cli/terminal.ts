import { styleText } from 'node:util'
import type { Failure } from './failure.ts'
import type { Machine, OutputStream } from './machine.ts'
import { printable, printableJson, printableText } from './printable.ts'

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
export interface Styled {
  style: Style
  text: string
}
/** A line to show. Its texts may come from anywhere: styles are put on by the terminal, after it has made the texts harmless. */
export type Line = string | Styled | readonly (string | Styled)[]

export interface Terminal {
  readonly json: boolean
  readonly quiet: boolean
  /** Where progress is drawn: standard error is a terminal and nobody asked for silence or JSON. */
  readonly isLive: boolean
  readonly isInputTty: boolean
  readonly isOutputTty: boolean
  /** Of the stream that the lines go to; undefined where it is no terminal. */
  columns(stream: 'stdout' | 'stderr'): number | undefined
  /** Results, on standard output. */
  print(...lines: Line[]): Promise<void>
  /** What helps a person but is no result, on standard error; nothing with --quiet or --json. */
  note(...lines: Line[]): Promise<void>
  /** Warnings that --quiet does not silence, on standard error; nothing with --json. */
  warn(...lines: Line[]): Promise<void>
  printJson(value: unknown): Promise<void>
  fail(failure: Failure): Promise<void>
  /** The live line on standard error is replaced; '' removes it. Only when `isLive`. */
  draw(line: Line): Promise<void>
  /** Output of a job. Standard output that is no terminal gets it as it is, everything else printable. */
  writeOutput(stream: 'stdout' | 'stderr', text: string): Promise<void>
}

export function bold(text: string): Styled {
  return { style: 'bold', text }
}
export function dim(text: string): Styled {
  return { style: 'dim', text }
}

export function createTerminal(
  machine: Machine,
  options: { json: boolean; quiet: boolean; noColor: boolean },
): Terminal {
  const { stdout, stderr } = machine
  const { json, quiet } = options
  const hasColor = (stream: OutputStream): boolean => stream.isTTY === true && !options.noColor
  const isLive = stderr.isTTY === true && !json && !quiet
  let drawn = false

  async function writeLines(stream: OutputStream, lines: readonly Line[]): Promise<void> {
    const erase = drawn && stream.isTTY === true ? '\r\u001b[2K' : ''
    if (erase !== '') drawn = false
    const text = lines.map((line) => `${render(line, hasColor(stream))}\n`).join('')
    if (erase !== '' && stream !== stderr) await write(stderr, erase)
    await write(stream, stream === stderr ? erase + text : text)
  }

  return {
    json,
    quiet,
    isLive,
    isInputTty: machine.stdin.isTTY === true && stderr.isTTY === true,
    isOutputTty: stdout.isTTY === true,
    columns: (name) => (machine[name].isTTY === true ? (machine[name].columns ?? 80) : undefined),
    print: (...lines) => writeLines(stdout, lines),
    note: async (...lines) => {
      if (!quiet && !json) await writeLines(stderr, lines)
    },
    warn: async (...lines) => {
      if (!json) await writeLines(stderr, lines)
    },
    printJson: (value) => write(stdout, `${printableJson(value)}\n`),
    fail: (failure) =>
      json ? write(stderr, `${printableJson({ error: failure })}\n`) : writeLines(stderr, failureLines(failure)),
    async draw(line) {
      if (!isLive) return
      const text = render(line, hasColor(stderr))
      await write(stderr, `\r\u001b[2K${text}`)
      drawn = text !== ''
    },
    async writeOutput(name, text) {
      const stream = machine[name]
      const isRaw = name === 'stdout' && stream.isTTY !== true
      await write(stream, isRaw ? text : printableText(text))
    },
  }
}

function render(line: Line, hasColor: boolean): string {
  const pieces = Array.isArray(line) ? line : [line]
  return pieces
    .map((piece: string | Styled) => {
      if (typeof piece === 'string') return printable(piece)
      const text = printable(piece.text)
      return hasColor && text !== '' ? styleText(piece.style, text, { validateStream: false }) : text
    })
    .join('')
}

function failureLines(failure: Failure): Line[] {
  const lines: Line[] = [[{ style: 'red', text: 'error: ' }, failure.message, dim(` (${failure.code})`)]]
  if (failure.detail !== undefined) lines.push(`  ${failure.detail}`)
  for (const field of failure.fields ?? []) lines.push(`  ${field.path}: ${field.message}`)
  if (failure.hint !== undefined) lines.push([{ style: 'cyan', text: '  → ' }, failure.hint])
  if (failure.requestId !== undefined) lines.push(dim(`  request ${failure.requestId}`))
  return lines
}

/** Waits until the stream has taken the text: a slow reader slows the reading of the log, memory stays flat. */
function write(stream: OutputStream, text: string): Promise<void> {
  if (text === '') return Promise.resolve()
  return new Promise((resolve, reject) => stream.write(text, (error) => (error ? reject(error) : resolve())))
}

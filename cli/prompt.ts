import { createInterface } from 'node:readline/promises'
import { text } from 'node:stream/consumers'
import type { Workbench } from './context.ts'
import { CliError, usageError } from './failure.ts'
import { printable } from './printable.ts'

/** Asks on the terminal; an empty answer takes the default. Without a terminal it says which option to use instead. */
export async function ask(
  { machine, terminal }: Workbench,
  question: string,
  instead: string,
  defaultAnswer?: string,
): Promise<string> {
  if (!terminal.isInputTty || terminal.json) throw noTerminal(question, instead)
  const lines = createInterface({ input: machine.stdin, output: machine.stderr, terminal: true })
  const interrupted = new AbortController()
  lines.once('SIGINT', () => interrupted.abort())
  lines.once('close', () => interrupted.abort())
  try {
    const suffix = defaultAnswer === undefined ? '' : ` [${printable(defaultAnswer)}]`
    const answer = await lines.question(`${question}${suffix}: `, { signal: interrupted.signal })
    return answer.trim() || (defaultAnswer ?? '')
  } catch (error) {
    if (interrupted.signal.aborted) throw interruption()
    throw error
  } finally {
    lines.close()
  }
}

/** Asks for a new password twice; nobody sees what they type. */
export async function askTwice(workbench: Workbench, question: string, instead: string): Promise<string> {
  const password = await askSecret(workbench, question, instead)
  const again = await askSecret(workbench, `${question} again`, instead)
  if (password !== again) throw usageError('The two passwords differ')
  return password
}

/** Asks for a secret, of which nothing appears on the screen, not even its length. */
export async function askSecret({ machine, terminal }: Workbench, question: string, instead: string): Promise<string> {
  const { stdin, stderr } = machine
  if (!terminal.isInputTty || terminal.json || stdin.setRawMode === undefined) throw noTerminal(question, instead)
  stderr.write(`${question}: `)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  try {
    return await readSecret(stdin)
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}

function readSecret(stdin: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    const typed: string[] = []
    const finish = (act: () => void): void => {
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      act()
    }
    const onEnd = (): void => finish(() => reject(interruption()))
    const onData = (chunk: string | Buffer): void => {
      for (const character of String(chunk)) {
        if (character === '\r' || character === '\n') return finish(() => resolve(typed.join('')))
        if (character === '\u0003' || character === '\u0004') return finish(() => reject(interruption()))
        if (character === '\u007f' || character === '\b') typed.pop()
        else if (character === '\u0015') typed.length = 0
        else typed.push(character)
      }
    }
    stdin.on('data', onData)
    stdin.once('end', onEnd)
    stdin.resume()
  })
}

/** The first line of standard input, for secrets that a program hands over; refuses a terminal, which would show them. */
export async function readSecretLine(workbench: Workbench, what: string): Promise<string> {
  const [line = ''] = await readSecretLines(workbench, what, 1)
  return line
}

/** The first lines of standard input, as many as there must be. */
export async function readSecretLines({ machine }: Workbench, what: string, count: number): Promise<string[]> {
  if (machine.stdin.isTTY === true) throw usageError(`${what} is read from standard input: pipe it in`)
  const lines = (await text(machine.stdin)).split(/\r?\n/, count)
  if (lines.length === count && lines.every((line) => line !== '')) return lines
  if (count === 1) throw usageError(`Standard input is empty: ${what} was expected`)
  throw usageError(`Standard input has too few lines: ${what} was expected, a line each`)
}

function noTerminal(question: string, instead: string): CliError {
  return usageError(`${question} is needed, and there is no terminal to ask on`, instead)
}

/** What Ctrl-C ends a command with. */
export function interruption(): CliError {
  return new CliError('interrupted', 'interrupted', 'Interrupted')
}

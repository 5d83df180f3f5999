import type { Command, Outcome } from './command.ts'
import { commands as ownCommands } from './commands.ts'
import { openWorkbench, version } from './context.ts'
import { describeFailure } from './failure.ts'
import { help, unknownCommand } from './help.ts'
import { type Machine, thisMachine } from './machine.ts'
import { globalOptions, parseArguments } from './parse-arguments.ts'
import { isColorUnwanted } from './settings.ts'
import { createTerminal, type Terminal } from './terminal.ts'

/**
 * Runs one command line (without `node` and the script) and resolves with the exit code; never throws. The operator
 * commands need the server or the worker, which this package does not know: the caller brings them.
 */
export async function main(
  argv: readonly string[],
  operatorCommands: readonly Command[],
  machine: Machine = thisMachine(),
): Promise<number> {
  const commands = [...ownCommands, ...operatorCommands]
  // The way errors are shown must be known before the arguments are understood.
  let terminal = createTerminal(machine, { json: wantsJson(argv), quiet: false, noColor: isColorUnwanted(machine.env) })
  try {
    const found = findCommand(commands, argv)
    if ('outcome' in found) return await show(terminal, found.outcome)
    const prepared = found.command.prepare(found.args)
    const workbench = openWorkbench(machine, prepared.globals)
    terminal = workbench.terminal
    if (prepared.globals.help) return await show(terminal, help(commands, [found.command.name]))
    return await show(terminal, await prepared.run(workbench))
  } catch (error) {
    const failure = describeFailure(error)
    await terminal.fail(failure)
    return failure.exitCode
  }
}

type Found = { command: Command; args: string[] } | { outcome: Outcome }

/** Finds the command; options of every command may stand before it and between its words. */
function findCommand(commands: readonly Command[], argv: readonly string[]): Found {
  const words: string[] = []
  const before: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (word === '--') break
    if (word.startsWith('-')) {
      before.push(word)
      if (takesValue(word)) before.push(...argv.slice(++i, i + 1))
      continue
    }
    words.push(word)
    if (words[0] === 'help') continue
    const command = commands.find((candidate) => candidate.name === words.join(' '))
    if (command !== undefined) return { command, args: [...before, ...argv.slice(i + 1)] }
    const isNoun = commands.some((candidate) => candidate.name.startsWith(`${words.join(' ')} `))
    if (!isNoun) throw unknownCommand(commands, words)
  }
  parseArguments({ name: 'help', usage: '', options: { version: { type: 'boolean', summary: '' } } }, before)
  if (before.includes('--version')) return { outcome: { json: { version }, lines: [version] } }
  return { outcome: help(commands, words[0] === 'help' ? words.slice(1) : words) }
}

function takesValue(option: string): boolean {
  const name = option.replace(/^--/, '')
  return Object.entries(globalOptions).some(([known, { type }]) => known === name && type === 'string')
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end === -1 ? argv.length : end).includes('--json')
}

async function show(terminal: Terminal, outcome: Outcome): Promise<number> {
  if (terminal.json && outcome.json !== undefined) await terminal.printJson(outcome.json)
  else if (!terminal.json && outcome.lines !== undefined) await terminal.print(...outcome.lines)
  return outcome.exitCode ?? 0
}

import type { Command, Outcome } from './command.ts'
import { exitCodes } from './exit-codes.ts'
import { usageError } from './failure.ts'
import { findNearest } from './nearest.ts'
import type { OptionTable } from './options.ts'
import { globalOptions } from './parse-arguments.ts'
import { settingNames } from './settings.ts'
import { fieldLines } from './table.ts'
import { bold, type Line } from './terminal.ts'

/** The help for a command, for the commands under a noun, or for everything. */
export function help(commands: readonly Command[], words: readonly string[]): Outcome {
  const name = words.join(' ')
  const command = commands.find((candidate) => candidate.name === name)
  if (command !== undefined) return commandHelp(command)
  const under = commands.filter((candidate) => candidate.name.startsWith(`${name} `))
  if (name !== '' && under.length > 0) return nounHelp(name, under)
  if (name === '') return overview(commands)
  throw unknownCommand(commands, words)
}

/** The refusal of words that are no command, with the one that was probably meant. */
export function unknownCommand(commands: readonly Command[], words: readonly string[]): Error {
  const names = commands.map((command) => command.name)
  const nouns = names.map((name) => name.split(' ', 1).join(''))
  const noun = words[0] ?? ''
  // Within a known noun only its own verbs can have been meant.
  const candidates = nouns.includes(noun) ? names.filter((name) => name.startsWith(`${noun} `)) : [...names, ...nouns]
  const nearest = findNearest(words.slice(0, 3).join(' '), candidates) ?? findNearest(noun, nouns)
  const hint =
    nearest === undefined || nearest === noun
      ? `See: hivesync help${nearest === noun ? ` ${noun}` : ''}`
      : `Did you mean: hivesync ${nearest}`
  return usageError(`There is no command ${words.slice(0, 3).join(' ')}`, hint)
}

function overview(commands: readonly Command[]): Outcome {
  const lines: Line[] = [
    [bold('hivesync'), ': queue jobs, run them in a sandbox on machines you own'],
    '',
    bold('Usage'),
    '  hivesync COMMAND [ARGUMENTS] [OPTIONS]',
    '',
    bold('Commands'),
    ...fieldLines(commands.map((command) => [command.name, command.summary])),
    '',
    bold('Options of every command'),
    ...optionLines(globalOptions),
    '',
    bold('Environment'),
    ...fieldLines(Object.entries(settingNames)),
    '',
    bold('Exit codes'),
    ...fieldLines(Object.values(exitCodes).map(([code, meaning]) => [String(code), meaning])),
    '',
    '  hivesync help COMMAND tells more.',
  ]
  const codes = Object.fromEntries(Object.values(exitCodes))
  return {
    lines,
    json: { commands: commands.map(describe), options: globalOptions, environment: settingNames, exitCodes: codes },
  }
}

function nounHelp(noun: string, commands: readonly Command[]): Outcome {
  const rows = fieldLines(commands.map((command) => [`${command.name} ${command.usage}`.trim(), command.summary]))
  return {
    lines: [bold(`hivesync ${noun}`), '', ...rows, '', `  hivesync help ${noun} COMMAND tells more.`],
    json: { commands: commands.map(describe) },
  }
}

function commandHelp(command: Command): Outcome {
  const lines: Line[] = [
    [bold(`hivesync ${command.name}`), `: ${command.summary}`],
    '',
    bold('Usage'),
    `  hivesync ${`${command.name} ${command.usage}`.trim()}`,
  ]
  if (command.notes !== undefined) lines.push('', ...command.notes.map((note) => `  ${note}`))
  if (Object.keys(command.options).length > 0) lines.push('', bold('Options'), ...optionLines(command.options))
  lines.push('', bold('Options of every command'), ...optionLines(globalOptions))
  lines.push('', '  Exit codes and environment: hivesync help')
  return { lines, json: describe(command) }
}

function optionLines(options: OptionTable): Line[] {
  return fieldLines(
    Object.entries(options).map(([name, { short, value, summary }]) => [
      `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
      summary,
    ]),
  )
}

function describe({ name, summary, usage, notes, options }: Command) {
  return { name, summary, usage, notes: notes ?? [], options }
}

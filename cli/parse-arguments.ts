import { parseArgs } from 'node:util'
import { usageError } from './failure.ts'
import { findNearest } from './nearest.ts'
import type { OptionTable } from './options.ts'

export const globalOptions = {
  json: { type: 'boolean', summary: 'print one JSON document; errors as JSON on standard error' },
  profile: { type: 'string', value: 'NAME', summary: 'use this profile instead of `default`' },
  server: { type: 'string', value: 'URL', summary: 'use this server instead of that of the profile' },
  quiet: { type: 'boolean', short: 'q', summary: 'no progress and no notes, only results and errors' },
  'no-color': { type: 'boolean', summary: 'no colors (as NO_COLOR=1)' },
  'allow-http': { type: 'boolean', summary: 'allow http: to another machine, on a trusted network' },
  help: { type: 'boolean', short: 'h', summary: 'what this command does' },
} as const satisfies OptionTable

export interface GlobalOptions {
  json: boolean
  profile: string | undefined
  server: string | undefined
  quiet: boolean
  noColor: boolean
  allowHttp: boolean
  help: boolean
}

export interface ParsedArguments {
  globals: GlobalOptions
  options: Readonly<Record<string, unknown>>
  positionals: readonly string[]
}

interface Expected {
  name: string
  usage: string
  options: OptionTable
  arguments?: readonly [min: number, max: number]
}

/**
 * Reads a command's arguments strictly: an unknown option, a missing value, a value too many or an argument too many is a
 * usage error, never ignored. After `--` everything is an argument.
 */
export function parseArguments(command: Expected, args: readonly string[]): ParsedArguments {
  const table: OptionTable = { ...globalOptions, ...command.options }
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: toParseArgs(table),
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  for (const token of tokens) if (token.kind === 'option') requireKnownOption(table, token)
  const globals = readGlobals(values)
  if (!globals.help) requireArguments(command, positionals)
  const options = Object.fromEntries(
    Object.entries(command.options).map(([name, { type, multiple }]) => [
      name,
      values[name] ?? (type === 'boolean' ? false : multiple === true ? [] : undefined),
    ]),
  )
  return { globals, options, positionals }
}

function toParseArgs(table: OptionTable) {
  return Object.fromEntries(
    Object.entries(table).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  )
}

interface OptionToken {
  name: string
  rawName: string
  value?: string | undefined
  inlineValue?: boolean | undefined
}

function requireKnownOption(table: OptionTable, token: OptionToken): void {
  const option = Object.hasOwn(table, token.name) ? table[token.name] : undefined
  if (option === undefined) {
    const nearest = findNearest(token.name, Object.keys(table))
    const hint = nearest === undefined ? 'Arguments that begin with a dash go after --' : `Did you mean --${nearest}?`
    throw usageError(`There is no option ${token.rawName}`, hint)
  }
  if (option.type === 'boolean' && token.value !== undefined) throw usageError(`${token.rawName} takes no value`)
  if (option.type === 'string' && (token.value === undefined || token.value === '')) {
    throw usageError(`${token.rawName} needs a value`)
  }
  // `--ref --json` is a forgotten value far more often than a value that begins with a dash.
  if (option.type === 'string' && token.inlineValue === false && token.value?.startsWith('-')) {
    throw usageError(
      `${token.rawName} needs a value`,
      `If the value begins with a dash: ${token.rawName}=${token.value}`,
    )
  }
}

function readGlobals(values: Readonly<Record<string, unknown>>): GlobalOptions {
  const text = (name: keyof typeof globalOptions): string | undefined => {
    const value = values[name]
    return typeof value === 'string' ? value : undefined
  }
  return {
    json: values.json === true,
    profile: text('profile'),
    server: text('server'),
    quiet: values.quiet === true,
    noColor: values['no-color'] === true,
    allowHttp: values['allow-http'] === true,
    help: values.help === true,
  }
}

function requireArguments(command: Expected, positionals: readonly string[]): void {
  const [min, max] = command.arguments ?? [0, 0]
  const usage = `Usage: hivesync ${`${command.name} ${command.usage}`.trim()}`
  if (positionals.length < min) throw usageError('An argument is missing', usage)
  if (positionals.length > max) throw usageError(`There is one argument too many: ${positionals[max]}`, usage)
  if (positionals[0] === '' && min > 0) throw usageError('An argument is empty', usage)
}

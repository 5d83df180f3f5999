import type { Context, Workbench } from './context.ts'
import type { OptionTable, OptionValues } from './options.ts'
import { type GlobalOptions, parseArguments } from './parse-arguments.ts'
import type { Line } from './terminal.ts'

/** What a command answers with: one JSON document, and the same for people. */
export interface Outcome {
  /** Absent where the command has written its own output. */
  json?: unknown
  lines?: readonly Line[]
  exitCode?: number
}

export interface Definition<O extends OptionTable> {
  /** The words after `hivesync`. */
  name: string
  summary: string
  /** What follows the name on the command line. */
  usage: string
  /** Further sentences for the help, one per line. */
  notes?: readonly string[]
  options: O
  /** How many arguments it takes; none unless given. */
  arguments?: readonly [min: number, max: number]
  run(context: Context<O>): Promise<Outcome>
}

/** A command whose particular options are known to itself alone. */
export interface Command extends Omit<Definition<OptionTable>, 'run'> {
  prepare(args: readonly string[]): PreparedCommand
}
export interface PreparedCommand {
  globals: GlobalOptions
  run(workbench: Workbench): Promise<Outcome>
}

/** Makes a command of its definition; inside `run` the options have the types that the definition gives them. */
export function defineCommand<const O extends OptionTable>(definition: Definition<O>): Command {
  return {
    ...definition,
    prepare(args) {
      const parsed = parseArguments(definition, args)
      return {
        globals: parsed.globals,
        run: (workbench) =>
          definition.run({
            ...workbench,
            // parseArguments has built it by this very table: the one place where that becomes a type.
            options: parsed.options as OptionValues<O>,
            arguments: parsed.positionals,
          }),
      }
    },
  }
}

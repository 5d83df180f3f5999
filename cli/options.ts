export interface OptionDefinition {
  type: 'string' | 'boolean'
  short?: string
  multiple?: true
  /** How the help names the value. */
  value?: string
  summary: string
}
export type OptionTable = Readonly<Record<string, OptionDefinition>>
type ValueOf<D> = D extends { type: 'boolean' }
  ? boolean
  : D extends { multiple: true }
    ? readonly string[]
    : string | undefined
export type OptionValues<O extends OptionTable> = { readonly [Name in keyof O]: ValueOf<O[Name]> }

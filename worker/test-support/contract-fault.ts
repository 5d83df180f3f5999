type Schema = Readonly<Record<string, unknown>>

/** What is wrong with a value by the JSON Schema of a contract (the keywords the contracts use), or undefined. */
export function findContractFault(schema: unknown, value: unknown, path = 'body'): string | undefined {
  const rules = schema as Schema
  if (Array.isArray(rules.anyOf)) {
    const fits = rules.anyOf.some((branch) => findContractFault(branch, value, path) === undefined)
    return fits ? undefined : `${path} fits no branch`
  }
  if ('const' in rules && rules.const !== value) return `${path} is not ${String(rules.const)}`
  if (Array.isArray(rules.enum) && !rules.enum.includes(value)) return `${path} is not listed`
  if (rules.type === 'object') return findObjectFault(rules, value, path)
  if (rules.type === 'array') return findArrayFault(rules, value, path)
  if (rules.type === 'string') return findStringFault(rules, value, path)
  if (rules.type === 'integer') return findIntegerFault(rules, value, path)
  if (rules.type === 'boolean' && typeof value !== 'boolean') return `${path} is no boolean`
  if (rules.type === 'null' && value !== null) return `${path} is not null`
  return undefined
}

function findObjectFault(rules: Schema, value: unknown, path: string): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${path} is no object`
  const properties = (rules.properties ?? {}) as Record<string, unknown>
  const patterns = Object.entries((rules.patternProperties ?? {}) as Record<string, unknown>)
  for (const name of (rules.required ?? []) as string[]) if (!(name in value)) return `${path}.${name} is missing`
  for (const [name, member] of Object.entries(value)) {
    const schema = properties[name] ?? patterns.find(([pattern]) => new RegExp(pattern).test(name))?.[1]
    if (schema === undefined && rules.additionalProperties === false) return `${path}.${name} is unknown`
    const fault = schema === undefined ? undefined : findContractFault(schema, member, `${path}.${name}`)
    if (fault !== undefined) return fault
  }
  return undefined
}

function findArrayFault(rules: Schema, value: unknown, path: string): string | undefined {
  if (!Array.isArray(value)) return `${path} is no array`
  if (value.length > Number(rules.maxItems ?? Infinity)) return `${path} is too long`
  if (value.length < Number(rules.minItems ?? 0)) return `${path} is too short`
  if (rules.uniqueItems === true && new Set(value).size < value.length) return `${path} repeats an item`
  for (const [index, item] of value.entries()) {
    const fault = findContractFault(rules.items, item, `${path}[${index}]`)
    if (fault !== undefined) return fault
  }
  return undefined
}

function findStringFault(rules: Schema, value: unknown, path: string): string | undefined {
  if (typeof value !== 'string') return `${path} is no string`
  if (value.length > Number(rules.maxLength ?? Infinity)) return `${path} is too long`
  if (value.length < Number(rules.minLength ?? 0)) return `${path} is too short`
  const isMatch = typeof rules.pattern !== 'string' || new RegExp(rules.pattern, 'u').test(value)
  return isMatch ? undefined : `${path} does not match`
}

function findIntegerFault(rules: Schema, value: unknown, path: string): string | undefined {
  if (typeof value !== 'number' || !Number.isInteger(value)) return `${path} is no integer`
  if (value < Number(rules.minimum ?? -Infinity) || value > Number(rules.maximum ?? Infinity)) {
    return `${path} is out of range`
  }
  return undefined
}

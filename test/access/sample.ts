// Values made from the contracts' own schemas, so that an operation is covered the moment it exists.
import { conforms, type TSchema } from '@hivesync/contracts/schema.ts'
import fc from 'fast-check'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
/** The members of JSON Schema that the contracts use. */
interface Schema {
  type?: string
  enum?: Json[]
  const?: Json
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minItems?: number
  minimum?: number
}

const texts = [
  'https://example.net/queen/hive.git',
  'abc',
  '1',
  '01890000-0000-7000-8000-000000000000',
  'somebody@example.net',
  '2030-01-01T00:00:00.000Z',
  'A'.repeat(43),
  'A'.repeat(86),
  'a'.repeat(64),
  'BCDFGHJK',
]

/** The smallest value that the schema accepts; throws where a pattern is new: then `texts` needs one more. */
export function sampleOf(schema: TSchema): Json {
  const sample = build(JSON.parse(JSON.stringify(schema)))
  if (!conforms(schema, sample)) throw new Error(`no sample for ${JSON.stringify(schema)}`)
  return sample
}

function build(schema: Schema): Json {
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return schema.enum[0] ?? null
  if (schema.anyOf !== undefined) return build(schema.anyOf[0] ?? {})
  switch (schema.type) {
    case 'object':
      return Object.fromEntries((schema.required ?? []).map((key) => [key, build(schema.properties?.[key] ?? {})]))
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => build(schema.items ?? {}))
    case 'integer':
    case 'number':
      return schema.minimum ?? 0
    case 'boolean':
      return false
    case 'null':
      return null
    default:
      return texts.find((text) => conforms(schema as TSchema, text)) ?? ''
  }
}

/** What tends to break a server: wrong types, odd numbers, hostile texts. */
const odd: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, 0, -1, 1.5, 2 ** 53, 1e300, '', 'null', [], {}, [[]], { __proto__: null }),
  fc.constantFrom('\0', 'a\0b', '\ud800', '\u202e', '../../etc/passwd', "' or 1=1 --", '%00', '<script>', '-rf', '\n'),
  fc.integer({ min: 1, max: 5000 }).map((length) => 'x'.repeat(length)),
  fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
)

type Change = { at: number; kind: 'replace' | 'remove' | 'add' | 'wrap'; value: Json }
const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(30),
  kind: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'add', 'wrap'),
  value: odd,
})

/** The sample with one to three changes somewhere in it: most of them are refused, some are accepted. */
export function mutatedBodies(sample: Json): fc.Arbitrary<Json> {
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => changes.reduce(apply, sample))
}

function apply(value: Json, { at, kind, value: given }: Change): Json {
  const copy: Json = structuredClone(value)
  const places = placesIn(copy)
  const place = places[at % (places.length + 1)]
  if (place === undefined)
    return kind === 'add' && isRecord(copy) ? { ...copy, extra: given } : kind === 'wrap' ? [copy] : given
  const [holder, key] = place
  if (Array.isArray(holder)) {
    if (kind === 'remove') holder.splice(Number(key), 1)
    else holder[Number(key)] = given
  } else if (kind === 'remove') delete holder[key]
  else if (kind === 'add') holder.extra = given
  else holder[key] = kind === 'wrap' ? [holder[key] ?? null] : given
  return copy
}

function isRecord(value: Json): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function placesIn(value: Json): [Json[] | { [key: string]: Json }, string][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [
    [value, key] as [Json[] | { [key: string]: Json }, string],
    ...placesIn(inner),
  ])
}

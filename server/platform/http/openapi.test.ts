import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import { codesOf, openApiDocument } from './openapi.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
const document = JSON.parse(JSON.stringify(openApiDocument('https://hive.test'))) as { [key: string]: Json }

function at(...path: string[]): Json | undefined {
  return path.reduce<Json | undefined>((value, key) => (isObject(value) ? value[key] : undefined), document)
}
function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
function membersOf(value: Json | undefined): [string, Json][] {
  return isObject(value) ? Object.entries(value) : []
}

/** Every operation of the document with its path and method. */
const described = membersOf(at('paths')).flatMap(([path, item]) =>
  membersOf(item).map(([method, operation]) => ({ path, method, operation })),
)

// The keywords of JSON Schema 2020-12 that the contracts use; a misspelled one would be ignored by every reader.
const keywords = new Set(
  'type properties required additionalProperties patternProperties items minItems maxItems uniqueItems enum const anyOf minLength maxLength pattern format minimum maximum description maxProperties $ref'.split(
    ' ',
  ),
)
const types = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'])

function requireSchema(schema: Json | undefined, where: string): void {
  assert.ok(isObject(schema), where)
  for (const [keyword, value] of Object.entries(schema)) {
    assert.ok(keywords.has(keyword), `${where}: ${keyword}`)
    if (keyword === 'type') assert.ok(types.has(String(value)), `${where}: ${JSON.stringify(value)}`)
    if (keyword === 'pattern') new RegExp(String(value), 'u')
    if (keyword === '$ref') assert.ok(at(...String(value).slice(2).split('/')), `${where}: ${String(value)}`)
    if (keyword === 'anyOf') for (const each of value as Json[]) requireSchema(each, where)
    if (keyword === 'items') requireSchema(value, where)
    if (keyword === 'properties' || keyword === 'patternProperties')
      for (const [name, each] of membersOf(value)) requireSchema(each, `${where}/${name}`)
    if (keyword === 'required')
      for (const name of value as string[])
        assert.ok(isObject(schema.properties) && name in schema.properties, `${where}: ${name}`)
  }
}

test('the document is OpenAPI 3.1 with its title, its server and what it refers to', () => {
  assert.equal(at('openapi'), '3.1.0')
  assert.ok(at('info', 'title') && at('info', 'version'))
  assert.deepEqual(at('servers'), [{ url: 'https://hive.test' }])
  requireSchema(at('components', 'schemas', 'Problem'), 'Problem')
  const allowed = ['openapi', 'info', 'servers', 'components', 'paths']
  assert.deepEqual(
    Object.keys(document).filter((key) => !allowed.includes(key)),
    [],
  )
})

test('every operation is in it once, under its method and path', () => {
  const listed = described.map(
    ({ path, method, operation }) => `${isObject(operation) ? operation.operationId : ''} ${method} ${path}`,
  )
  const wanted = [...operations.values()].map(
    ({ name, method, path }) => `${name} ${method.toLowerCase()} ${path.replace(/:(\w+)/g, '{$1}')}`,
  )
  assert.deepEqual(listed.sort(), wanted.sort())
})

describe('an operation', () => {
  for (const { path, method, operation } of described) {
    test(`${method} ${path} is described as the standard says`, () => {
      assert.ok(isObject(operation))
      assert.match(String(operation.summary), /^[A-Z]/)
      const parameters = (operation.parameters ?? []) as { [key: string]: Json }[]
      const inPath = parameters.filter((each) => each.in === 'path')
      assert.deepEqual(inPath.map((each) => `{${each.name}}`).sort(), (path.match(/\{\w+\}/g) ?? []).sort())
      for (const parameter of parameters) {
        assert.ok(parameter.in === 'query' || parameter.required === true, String(parameter.name))
        requireSchema(parameter.schema, `${path} ${String(parameter.name)}`)
      }
      if (operation.requestBody !== undefined) {
        assert.notEqual(method, 'get')
        const bodies = membersOf(at('paths', path, method, 'requestBody', 'content')) as [string, { schema?: Json }][]
        assert.equal(bodies.length, 1)
        for (const [type, { schema }] of bodies) {
          assert.ok(type === 'application/json' || type === 'application/octet-stream', type)
          if (type === 'application/json' || schema !== undefined) requireSchema(schema, path)
        }
      }
      const statuses = membersOf(operation.responses)
      assert.ok(statuses.some(([status]) => status.startsWith('2')))
      for (const [status, response] of statuses) {
        assert.match(status, /^[2345]\d\d$/)
        assert.ok(isObject(response) && response.description)
        for (const [type, { schema }] of membersOf(response.content) as [string, { schema?: Json }][]) {
          assert.match(type, /^[a-z]+\/[a-z+-]+$/)
          if (schema !== undefined) requireSchema(schema, `${path} ${status}`)
        }
      }
      for (const requirement of operation.security as { [key: string]: Json }[])
        for (const scheme of Object.keys(requirement)) assert.ok(at('components', 'securitySchemes', scheme), scheme)
    })
  }
})

test('each lists exactly the statuses of the refusals it can answer with', () => {
  for (const operation of operations.values()) {
    const path = operation.path.replace(/:(\w+)/g, '{$1}')
    const listed = membersOf(at('paths', path, operation.method.toLowerCase(), 'responses')).map(([status]) => status)
    const codes = [...codesOf(operation)]
    const { status, emptyStatus = status } = operation
    const wanted = new Set([status, emptyStatus, ...codes.map((code) => errorCatalog[code][0])].map(String))
    assert.deepEqual(listed.sort(), [...wanted].sort(), operation.name)
    assert.equal(codes.includes('signature_missing'), operation.access === 'worker')
    assert.equal(codes.includes('rate_limited'), operation.limit !== 'none')
  }
})

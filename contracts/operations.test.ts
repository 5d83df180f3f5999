import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { grantedBy, permissions, roleFor, scopes } from './access.ts'
import { errorCatalog } from './errors.ts'
import { operations } from './operations.ts'

type Schema = {
  type?: string
  properties?: Record<string, Schema>
  patternProperties?: Record<string, Schema>
  additionalProperties?: unknown
  items?: Schema
  anyOf?: Schema[]
  enum?: unknown[]
  const?: unknown
  pattern?: string
  format?: string
  maxLength?: number
  minimum?: number
  maximum?: number
  maxItems?: number
  maxProperties?: number
}
const all = [...operations.values()]
const plain = (schema: object): Schema => JSON.parse(JSON.stringify(schema))

/** Every schema within a schema, with where it stands. */
function walk(schema: Schema, where: string): [Schema, string][] {
  const named = [...Object.entries(schema.properties ?? {}), ...Object.entries(schema.patternProperties ?? {})]
  return [
    [schema, where],
    ...named.flatMap(([name, each]) => walk(each, `${where}.${name}`)),
    ...(schema.items === undefined ? [] : walk(schema.items, `${where}[]`)),
    ...(schema.anyOf ?? []).flatMap((each) => walk(each, where)),
  ]
}

const inputs = all.flatMap(({ name, params, query, body }) =>
  [params, query, body].flatMap((schema) => (schema === undefined ? [] : walk(plain(schema), name))),
)

test('names and addresses are unique, and the name is that of the constant’s key', () => {
  const addresses = all.map(({ method, path }) => `${method} ${path.replace(/:\w+/g, ':')}`)
  assert.equal(new Set(addresses).size, all.length)
  for (const [name, operation] of operations) assert.equal(operation.name, name)
})

describe('an operation', () => {
  for (const operation of all) {
    const { name, method, path, params, body, status, reply, errors, produces } = operation
    test(`${name} states what it must`, () => {
      const inPath = [...path.matchAll(/:(\w+)/g)].map(([, parameter]) => parameter)
      assert.deepEqual(Object.keys(params?.properties ?? {}).sort(), inPath.sort())
      if (method === 'GET') assert.equal(body, undefined)
      // 202: what was asked for is done later, or is nobody's business.
      const isEmpty = reply === null && produces === undefined
      assert.ok(isEmpty ? status === 204 || status === 202 : status !== 204, 'a reply, a media type, 202 or 204')
      assert.ok(status >= 200 && status < 300)
      assert.equal(new Set(errors).size, errors.length)
      for (const code of errors) assert.ok(code in errorCatalog)
      assert.match(operation.summary, /^[A-Z].*[^.]$/)
      assert.ok(Object.isFrozen(operation))
    })
  }
})

test('every object that comes in refuses keys it does not name', () => {
  for (const [schema, where] of inputs) {
    if (schema.type !== 'object' || schema.patternProperties?.['^.*$'] !== undefined) continue
    assert.equal(schema.additionalProperties, false, where)
  }
})

test('every text, number and list that comes in has bounds of its own (ASVS 2.1.1)', () => {
  const endless = inputs.filter(([schema]) => {
    if (schema.enum !== undefined || schema.const !== undefined) return false
    if (schema.type === 'string') return (schema.maxLength ?? schema.pattern ?? schema.format) === undefined
    // Beyond 2^53 an integer is not the one that was sent, and no column holds it.
    if (schema.type === 'integer')
      return schema.minimum === undefined || !((schema.maximum ?? Number.NaN) <= Number.MAX_SAFE_INTEGER)
    if (schema.type === 'number') return schema.minimum === undefined || schema.maximum === undefined
    return schema.type === 'array' && schema.maxItems === undefined
  })
  assert.deepEqual(
    endless.map(([, where]) => where),
    [],
  )
})

test('every pattern ends on the longest text that reaches it, however hostile (ASVS 1.3.12)', () => {
  const atoms = [' ', 'a', '.', '/', 'a.', '@', 'a@', '-', '..', 'é', '1', 'a ']
  for (const [{ pattern, maxLength = 64 * 1024 }, where] of inputs) {
    if (pattern === undefined) continue
    const expression = new RegExp(pattern, 'u')
    for (const atom of atoms) {
      const text = atom.repeat(Math.floor(maxLength / atom.length))
      // A pattern with runaway backtracking never comes back from this: then the runner ends the test by name.
      for (const hostile of [text, `${text.slice(1)}\0`, `a${text.slice(2)}!`])
        assert.equal(typeof expression.test(hostile), 'boolean', where)
    }
  }
})

describe('scopes', () => {
  test('read holds every right to read and no other, write and admin hold all', () => {
    assert.deepEqual(
      [...grantedBy(['read'])],
      permissions.filter((each) => each.endsWith(':read')),
    )
    assert.deepEqual([...grantedBy(['write'])], [...permissions])
    assert.deepEqual([...grantedBy(['admin'])], [...permissions])
    assert.deepEqual([...grantedBy(['ingest'])].sort(), ['ingest:read', 'ingest:write'])
    assert.deepEqual([...grantedBy([])], [])
  })

  test('each single scope grants itself alone', () => {
    for (const permission of permissions) assert.deepEqual([...grantedBy([permission])], [permission])
    assert.equal(new Set(scopes).size, scopes.length)
  })

  test('to read needs at most the role of a viewer, to write more', () => {
    for (const [permission, role] of Object.entries(roleFor))
      assert.equal(role === 'viewer', permission.endsWith(':read'))
  })
})

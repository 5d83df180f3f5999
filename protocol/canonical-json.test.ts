import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Canonical, canonicalJson } from './canonical-json.ts'

test('the spelling is that of RFC 8785, appendix and member order included', () => {
  assert.equal(
    canonicalJson({
      numbers: [Number('333333333.33333329'), 4.5, 2e-3, 0.000000000000000000000000001, -0],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    }),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27,0],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  )
  // RFC 8785 §3.2.3: by UTF-16 code units, so the emoji (a surrogate pair) stands before U+FB33.
  const names = ['\u20ac', '\r', '\ufb33', '1', '\ud83d\ude00', '\u0080', '\u00f6']
  const sorted = Object.keys(JSON.parse(canonicalJson(Object.fromEntries(names.map((name) => [name, 0])))))
  assert.deepEqual(sorted, ['1', '\r', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33'])
})

const values = fc.object({
  key: fc.string({ unit: 'grapheme' }),
  values: [
    fc.string({ unit: 'grapheme' }),
    fc.integer(),
    fc.double({ noInteger: true, noNaN: true, noDefaultInfinity: true }),
  ],
  withNullPrototype: true,
  maxDepth: 4,
})

test('one value has one spelling, whatever order it was built in, and reads back as itself', () => {
  fc.assert(
    fc.property(values, (value) => {
      const text = canonicalJson(reversed(value as Canonical))
      assert.equal(text, canonicalJson(value as Canonical))
      assert.equal(canonicalJson(JSON.parse(text)), text)
    }),
  )
})

test('members that are undefined are absent', () => {
  assert.equal(canonicalJson({ b: undefined, a: 1 }), '{"a":1}')
})

test('what JSON cannot say in one way is refused', () => {
  const deep = JSON.parse(`${'['.repeat(9)}${']'.repeat(9)}`)
  const values: unknown[] = [
    NaN,
    Infinity,
    2 ** 53,
    '\ud800',
    { '\udc00': 1 },
    new Date(0),
    new Map(),
    [undefined],
    deep,
  ]
  for (const value of [...values, 1n, undefined, () => 0, Symbol('x')]) {
    assert.throws(() => canonicalJson(value as Canonical), RangeError)
  }
})

function reversed(value: Canonical): Canonical {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member as Canonical)]),
  )
}

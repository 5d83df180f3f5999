import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findTraceParent } from './trace-parent.ts'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const parent = '00f067aa0ba902b7'

test('a traceparent of W3C Trace Context is passed on, of a later version as far as it is known', () => {
  assert.equal(findTraceParent(`00-${trace}-${parent}-01`), `00-${trace}-${parent}-01`)
  assert.equal(findTraceParent(`00-${trace}-${parent}-00`), `00-${trace}-${parent}-00`)
  assert.equal(findTraceParent(`cc-${trace}-${parent}-01-what-the-future-brings`), `00-${trace}-${parent}-01`)
  assert.equal(findTraceParent(`00-${trace}-${parent}-ff`), `00-${trace}-${parent}-01`)
})

test('one that is malformed, forged or sent twice is as if it had not been sent', () => {
  for (const header of [
    undefined,
    '',
    `ff-${trace}-${parent}-01`,
    `00-${'0'.repeat(32)}-${parent}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${parent}-01`,
    `00-${trace}-${parent}-01-more`,
    `00-${trace}-${parent}-01, 00-${trace}-${parent}-01`,
    `00-${trace}-${parent}-01\n`,
    `00-${trace}-${parent}`,
    `cc-${trace}-${parent}-01.`,
    [`00-${trace}-${parent}-01`],
  ])
    assert.equal(findTraceParent(header), undefined, String(header))
})

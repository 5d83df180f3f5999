import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findPasswordFault } from './password-rules.ts'

const person = { username: 'Grace-H', email: 'hopper@navy.test' }

test('fifteen code points are enough, fourteen are not, whatever bytes they take', () => {
  assert.equal(findPasswordFault('a'.repeat(14), person), 'must have at least 15 characters')
  assert.equal(findPasswordFault('a'.repeat(15), person), undefined)
  assert.equal(findPasswordFault('🐝'.repeat(14), person), 'must have at least 15 characters')
  assert.equal(findPasswordFault('🐝'.repeat(64), person), undefined)
})

test('characters are counted after composition', () => {
  assert.equal(findPasswordFault('e\u0301'.repeat(14), person), 'must have at least 15 characters')
  assert.equal(findPasswordFault('e\u0301'.repeat(15), person), undefined)
})

test('1024 bytes are accepted, one more is not, and nothing is cut', () => {
  assert.equal(findPasswordFault('a'.repeat(1024), person), undefined)
  assert.equal(findPasswordFault('a'.repeat(1025), person), 'must have at most 1024 bytes')
  assert.equal(findPasswordFault('🐝'.repeat(257), person), 'must have at most 1024 bytes')
})

test('the own username and the own email name may not be part of it, in whatever case', () => {
  assert.equal(findPasswordFault('a long gRACE-h phrase', person), 'must not contain the username')
  assert.equal(findPasswordFault('HOPPER was an admiral', person), 'must not contain the email address')
  assert.equal(findPasswordFault('grace-hgrace-hgrace-h', person), 'must not contain the username')
})

test('a name of one or two letters is held against nobody', () => {
  assert.equal(findPasswordFault('correct horse battery staple', { username: 'bob', email: 'a@b.test' }), undefined)
})

test('a lone surrogate is refused', () => {
  assert.equal(findPasswordFault(`${'a'.repeat(20)}\ud800`, person), 'is not well-formed text')
})

test('there are no composition rules, and spaces count', () => {
  assert.equal(findPasswordFault('               ', person), undefined)
})

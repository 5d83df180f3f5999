import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contextWordsOf, findPasswordFault, isShort } from './password-rules.ts'

const person = { username: 'Grace-H', email: 'hopper@navy.test' }
const contextWords = contextWordsOf('https://hive.example.net:8443')
const alone = { hasSecondFactor: false, isMixed: false, contextWords }
const besideFactor = { ...alone, hasSecondFactor: true }
const mixed = { ...alone, isMixed: true }
const faultOf = (password: string, rules = alone) => findPasswordFault(password, person, rules)

test('fifteen code points are enough, fourteen are not, whatever bytes they take', () => {
  assert.equal(faultOf('a'.repeat(14)), 'must have at least 15 characters')
  assert.equal(faultOf('a'.repeat(15)), undefined)
  assert.equal(faultOf('🐝'.repeat(14)), 'must have at least 15 characters')
  assert.equal(faultOf('🐝'.repeat(64)), undefined)
})

test('beside a second factor eight are enough, and such a password is short', () => {
  assert.equal(faultOf('a'.repeat(7), besideFactor), 'must have at least 8 characters')
  assert.equal(faultOf('a'.repeat(8), besideFactor), undefined)
  assert.deepEqual(['a'.repeat(8), 'a'.repeat(14), 'a'.repeat(15), '🐝'.repeat(15)].map(isShort), [
    true,
    true,
    false,
    false,
  ])
  assert.equal(isShort('e\u0301'.repeat(14)), true)
})

test('characters are counted after composition', () => {
  assert.equal(faultOf('e\u0301'.repeat(14)), 'must have at least 15 characters')
  assert.equal(faultOf('e\u0301'.repeat(15)), undefined)
})

test('1024 bytes are accepted, one more is not, and nothing is cut', () => {
  assert.equal(faultOf('a'.repeat(1024)), undefined)
  assert.equal(faultOf('a'.repeat(1025)), 'must have at most 1024 bytes')
  assert.equal(faultOf('🐝'.repeat(257)), 'must have at most 1024 bytes')
})

test('the own username and the own email name may not be part of it, in whatever case', () => {
  assert.equal(faultOf('a long gRACE-h phrase'), 'must not contain the username')
  assert.equal(faultOf('HOPPER was an admiral'), 'must not contain the email address')
  assert.equal(faultOf('grace-hgrace-hgrace-h'), 'must not contain the username')
})

test('a name of one or two letters is held against nobody', () => {
  const bob = { username: 'bob', email: 'a@b.test' }
  assert.equal(findPasswordFault('correct horse battery staple', bob, alone), undefined)
})

test('the name of the product and the words of the server’s address do not count towards the length', () => {
  assert.deepEqual(contextWords, ['hive.example.net', 'hivesync', 'example', 'hive'])
  const fault = 'must have at least 15 characters besides the name of this service and its address'
  for (const weak of [
    'hivesync-password',
    'HiveSync HiveSync HiveSync',
    'example.hive.net 2026',
    'https://hive.example.net',
  ])
    assert.equal(faultOf(weak), fault, weak)
  assert.equal(faultOf('hivesync holds all of my old jobs'), undefined)
  assert.equal(faultOf('hive hive 8', besideFactor)?.includes('at least 8'), true)
})

test('the words of an address are its host and parts of four letters or more, but for the last', () => {
  assert.deepEqual(contextWordsOf('http://127.0.0.1:7070'), ['127.0.0.1', 'hivesync'])
  assert.deepEqual(contextWordsOf('http://[::1]:7070'), ['hivesync'])
  assert.deepEqual(contextWordsOf('http://localhost:7070'), ['localhost', 'hivesync'])
  assert.deepEqual(contextWordsOf('https://www.jobs.acme.co.uk'), ['www.jobs.acme.co.uk', 'hivesync', 'jobs', 'acme'])
})

test('a lone surrogate is refused', () => {
  assert.equal(faultOf(`${'a'.repeat(20)}\ud800`), 'is not well-formed text')
})

test('there are no composition rules, and spaces count', () => {
  assert.equal(faultOf('               '), undefined)
  assert.equal(faultOf('only lower case letters'), undefined)
})

test('where it is configured, upper case, lower case and digits are demanded, of any script', () => {
  const fault = 'must have an upper case letter, a lower case letter and a digit'
  for (const plain of ['only lower case 123', 'ONLY UPPER CASE 123', 'No Digits At All Here']) {
    assert.equal(faultOf(plain, mixed), fault)
    assert.equal(faultOf(plain), undefined)
  }
  assert.equal(faultOf('Lower And Upper 123', mixed), undefined)
  assert.equal(faultOf('Быстрая лисица ٣٤٥', mixed), undefined)
})

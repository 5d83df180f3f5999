import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../platform/clock.ts'
import { createRandom } from '../platform/random.ts'
import { generateApiKey, isApiKey } from './key-format.ts'

const random = createRandom(systemClock)

test('a key has the published form, begins with its prefix, and no two are alike', () => {
  const made = Array.from({ length: 200 }, () => generateApiKey(random))
  for (const { apiKey, prefix } of made) {
    assert.match(apiKey, /^hs_[A-Za-z0-9_-]{57}$/)
    assert.ok(apiKey.startsWith(prefix) && prefix.length === 11)
    assert.ok(isApiKey(apiKey))
  }
  assert.equal(new Set(made.map(({ apiKey }) => apiKey)).size, made.length)
})

test('one changed, missing or added character is noticed', () => {
  const { apiKey } = generateApiKey(random)
  for (let at = 3; at < apiKey.length; at++) {
    const other = apiKey[at] === 'A' ? 'B' : 'A'
    assert.ok(!isApiKey(apiKey.slice(0, at) + other + apiKey.slice(at + 1)), String(at))
    assert.ok(!isApiKey(apiKey.slice(0, at)))
  }
  for (const text of ['', `${apiKey}A`, ` ${apiKey}`, apiKey.toLowerCase(), apiKey.replace('hs_', 'hx_')])
    assert.ok(!isApiKey(text))
})

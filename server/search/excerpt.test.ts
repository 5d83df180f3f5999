import assert from 'node:assert/strict'
import { test } from 'node:test'
import { excerptOf } from './excerpt.ts'

test('a short line is shown whole, without its carriage return', () => {
  assert.equal(excerptOf('  const a = 1\r', 8), '  const a = 1')
})

test('a long line is cut to 300 characters around the match, also at its ends', () => {
  const line = `${'a'.repeat(1000)}needle${'b'.repeat(1000)}`
  assert.equal(excerptOf(line, 1000), `${'a'.repeat(100)}needle${'b'.repeat(194)}`)
  assert.equal(excerptOf(line, 0), 'a'.repeat(300))
  assert.equal(excerptOf(line, 1990), 'b'.repeat(300))
})

test('no surrogate pair is cut in two', () => {
  for (let shift = 0; shift < 4; shift++) {
    const line = `${'x'.repeat(shift)}${'😀'.repeat(400)}needle${'😀'.repeat(400)}`
    const excerpt = excerptOf(line, shift + 800)
    assert.ok(excerpt.isWellFormed())
    assert.ok(excerpt.length <= 300 && excerpt.includes('needle'))
  }
})

test('what would act on a terminal or reorder text is replaced', () => {
  assert.equal(
    excerptOf('\ta\u001b[2J\u009bb\u202ec\u2066d\u2028e\u007f', 0),
    ' a\ufffd[2J\ufffdb\ufffdc\ufffdd\ufffde\ufffd',
  )
})

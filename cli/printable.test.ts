import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { printable, printableJson, printableText } from './printable.ts'

const acting = /[\p{Cc}\p{Bidi_Control}\u200b\u2028\u2029\ufeff\p{Cs}]/u

test('no text can act on a terminal, reorder a line or hide in it', () => {
  const text = fc.string({ unit: 'binary' })
  const nasty = fc.constantFrom(
    '\u001b]52;c;aGk=\u0007',
    '\u009b31m',
    '\u202e',
    '\u2066',
    '\ud800',
    '\r',
    '\u0007',
    '\b',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(text, nasty)), (parts) => {
      const joined = parts.join('')
      assert.doesNotMatch(printable(joined), acting)
      assert.doesNotMatch(printableText(joined).replace(/[\n\t]/g, ''), acting)
      const json = printableJson({ joined })
      assert.doesNotMatch(json, acting)
      assert.deepEqual(JSON.parse(json), { joined })
    }),
  )
})

test('what was there is still to be seen', () => {
  assert.equal(printable('a\u001b[31mb\nc\u009bd\u202ee\u007f'), 'a\\e[31mb\\nc\\x9bd\\u202ee\\x7f')
  assert.equal(printableText('a\r\nb\tc\rd\u001b'), 'a\nb\tc\\rd\\e')
  assert.equal(printable('zażółć 日本 🎉'), 'zażółć 日本 🎉')
})

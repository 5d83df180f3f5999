import assert from 'node:assert/strict'
import { test } from 'node:test'
import { foldCase } from './fold.ts'

function* allCharacters(): Generator<string> {
  for (let code = 0; code <= 0x10ffff; code++) if (code < 0xd800 || code > 0xdfff) yield String.fromCodePoint(code)
}

test('every character folds to one of the same length, and folding again changes nothing', () => {
  for (const character of allCharacters()) {
    const folded = foldCase(character)
    assert.equal(folded.length, character.length, character)
    assert.equal(foldCase(folded), folded, character)
  }
})

test('two characters fold alike exactly when a case-insensitive Unicode regular expression takes them for each other', () => {
  const cased = [...allCharacters()].filter((character) =>
    /[\p{Cased}\p{Changes_When_Casefolded}\p{Changes_When_Casemapped}]/u.test(character),
  )
  assert.ok(cased.length > 2500)
  const alphabet = cased.join('')
  const groups = Map.groupBy(cased, foldCase)
  for (const character of cased) {
    const code = character.codePointAt(0) ?? 0
    const expected = alphabet.match(new RegExp(`\\u{${code.toString(16)}}`, 'giu'))
    assert.deepEqual(groups.get(foldCase(character)), expected, character)
  }
})

test('a text folds character by character', () => {
  assert.equal(foldCase('Straße, ΣΊΣΥΦΟΣ, K, İI 😀'), 'straße, σίσυφοσ, k, İi 😀')
})

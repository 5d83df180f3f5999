import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FilePath } from './job-kinds.ts'
import { conforms } from './schema.ts'

test('a file’s path has no way up, whatever stands before it', () => {
  const ways = ['..', '../x', 'a/..', 'a/../x', './x', 'a/./x', 'a//x', '/x', 'a/', '.']
  // Line separators, at which the dot of a regular expression stops.
  const starts = ['', 'a\u2028/', 'a\u2029/b/', '\u2028/']
  for (const start of starts) {
    for (const way of ways) assert.equal(conforms(FilePath, start + way), false, JSON.stringify(start + way))
    for (const path of ['x', 'a/x', '..x', 'x..', '...', 'a b/.c'])
      assert.equal(conforms(FilePath, start + path), true, JSON.stringify(start + path))
  }
})

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isTestFile, readText, rootDirectory } from './source-tree.ts'

interface Row {
  id: string
  claim: string
  file: string
  name: string
}

/** The rows of the table in docs/security.md; what looks like a row and is none is an error. */
function readRows(): Row[] {
  const lines = readText('docs/security.md')
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
  return lines.map((line) => {
    const [, id, claim, file, name] =
      /^\| (\d+\.\d+\.\d+) \| ([^|]+) \| \[[^\]]+\]\(\.\.\/([^)]+)\) \| ([^|]+) \|$/.exec(line) ?? []
    assert.ok(id && claim && file && name, `not a row: ${line}`)
    return { id, claim, file, name }
  })
}

const rows = readRows()

test('every row of the security table names a test that exists', () => {
  for (const { id, file, name } of rows) {
    assert.ok(isTestFile(file) && existsSync(join(rootDirectory, file)), `${id}: ${file} is no test file`)
    const source = readText(file).replaceAll("\\'", "'")
    assert.ok(source.includes(name), `${id}: ${file} has no test "${name}"`)
  }
})

test('the rows are in the order of their numbers, and none is there twice', () => {
  const numbers = rows.map(({ id }) => id.split('.').map(Number))
  const sorted = numbers.toSorted((a, b) => compare(a, b))
  assert.deepEqual(numbers, sorted)
  assert.equal(new Set(rows.map((row) => JSON.stringify(row))).size, rows.length)
  assert.ok(rows.length > 50)
})

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return (a[i] ?? 0) - (b[i] ?? 0)
  return 0
}

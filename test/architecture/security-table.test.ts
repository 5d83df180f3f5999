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

const [claims = '', notClaimed = ''] = readText('docs/security.md').split('## Not claimed')

/** The rows of the table in docs/security.md; what looks like a row and is none is an error. */
function readRows(): Row[] {
  const lines = claims.split('\n').filter((line) => /^\| \d/.test(line))
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

/** The table of the sandbox's layers: what it is about stands in words where the others have a number. */
const layerRows = (claims.split('## The sandbox, layer by layer')[1] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| Layer '))

test('every row of the sandbox’s table names a layer, an attack and a test that exists, and none is there twice', () => {
  for (const line of layerRows) {
    const [, file = '', name = ''] = /^\| [^|]+ \| [^|]+ \| \[[^\]]+\]\(\.\.\/([^)]+)\) \| ([^|]+) \|$/.exec(line) ?? []
    assert.ok(isTestFile(file) && existsSync(join(rootDirectory, file)), `no row, or no test file: ${line}`)
    assert.ok(readText(file).replaceAll("\\'", "'").includes(name), `${file} has no test "${name}"`)
  }
  assert.equal(new Set(layerRows).size, layerRows.length)
  assert.ok(layerRows.length > 45)
})

test('each risk of the API Security Top 10 has a row that names a test', () => {
  const lines = claims.split('\n').filter((line) => line.startsWith('| API'))
  const risks = lines.map((line) => {
    const [, risk = '', file = '', name = ''] =
      /^\| (API\d+) [^|]+ \| [^|]+ \| \[[^\]]+\]\(\.\.\/([^)]+)\) \| ([^|]+) \|$/.exec(line) ?? []
    assert.ok(isTestFile(file) && existsSync(join(rootDirectory, file)), `no row, or no test file: ${line}`)
    assert.ok(readText(file).replaceAll("\\'", "'").includes(name), `${file} has no test "${name}"`)
    return risk
  })
  assert.deepEqual(
    risks,
    Array.from({ length: 10 }, (_, i) => `API${i + 1}`),
  )
})

test('each attempt to do without a layer has its row', () => {
  for (const file of ['layers.test.ts', 'layers-host.test.ts', 'layers-limits.test.ts']) {
    const source = readText(`worker/sandbox/${file}`)
    const names = [...source.matchAll(/^\s*(?:test\(\s*)'((?:without|with|the \w+ group|a vector) [^']+)'/gm)].map(
      ([, name]) => name,
    )
    for (const name of names) assert.ok(claims.includes(` | ${name} |`), `${file}: "${name}" has no row`)
  }
})

test('the rows are in the order of their numbers, and none is there twice', () => {
  const numbers = rows.map(({ id }) => id.split('.').map(Number))
  const sorted = numbers.toSorted((a, b) => compare(a, b))
  assert.deepEqual(numbers, sorted)
  assert.equal(new Set(rows.map((row) => JSON.stringify(row))).size, rows.length)
  assert.ok(rows.length > 50)
})

/** Identity: every requirement of chapters 6 to 9 (how many there are by section), and those beside them that bear on it. */
const sections: Record<string, number> = {
  ...{ '6.1': 3, '6.2': 12, '6.3': 8, '6.4': 6, '6.5': 8, '6.6': 4, '6.7': 2, '6.8': 4 },
  ...{ '7.1': 3, '7.2': 4, '7.3': 2, '7.4': 5, '7.5': 3, '7.6': 2 },
  ...{ '8.1': 4, '8.2': 4, '8.3': 3, '8.4': 2, '9.1': 3, '9.2': 4 },
}
const beside =
  `2.3.1 2.3.3 2.3.5 2.4.1 3.3.1 3.3.2 3.3.3 3.3.4 3.5.1 3.5.2 3.5.3 4.1.3 10.3.1 10.3.2 10.3.3 10.3.4 10.3.5 10.4.5
  10.4.8 10.4.9 11.1.1 11.2.2 11.2.4 11.4.2 11.5.1 11.6.1 13.2.1 13.2.3 13.3.1 13.3.4 14.2.1 14.3.1 14.3.2 14.3.3 16.2.5
  16.3.1 16.3.2 16.3.3 16.5.1 16.5.3`.split(/\s+/)

test('every requirement on identity is either shown by a test or said not to be claimed, and why', () => {
  const all = Object.entries(sections).flatMap(([section, count]) =>
    Array.from({ length: count }, (_, index) => `${section}.${index + 1}`),
  )
  assert.equal(all.length, 86)
  const shown = new Set(rows.map((row) => row.id))
  const open = [...notClaimed.matchAll(/^\| (\d+\.\d+\.\d+) \| \S[^|]+ \|$/gm)].map(([, id = '']) => id)
  const unanswered = [...all, ...beside].filter((id) => !shown.has(id) && !open.includes(id))
  assert.deepEqual(unanswered, [])
  assert.deepEqual(
    open.filter((id) => shown.has(id)),
    [],
  )
})

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return (a[i] ?? 0) - (b[i] ?? 0)
  return 0
}

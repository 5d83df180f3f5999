import assert from 'node:assert/strict'
import test from 'node:test'
import { findNearest } from './nearest.ts'
import { fieldLines, tableLines } from './table.ts'
import type { Line } from './terminal.ts'
import { formatAge, formatBytes, formatDuration, parseCount, parseMebibytes, parseSeconds } from './units.ts'

test('sizes and times are short and unambiguous', () => {
  const bytes = [0, 999, 1000, 1499, 999_949, 999_950, 123_456_789, 5e15].map(formatBytes)
  assert.deepEqual(bytes, ['0 B', '999 B', '1.0 kB', '1.5 kB', '1.0 MB', '1.0 MB', '123 MB', '5000 TB'])
  const times = [0, 9949, 9950, 59_499, 60_000, 3_599_499, 3_600_000, 172_800_000].map(formatDuration)
  assert.deepEqual(times, ['0.0 s', '9.9 s', '10 s', '59 s', '1 min 00 s', '59 min 59 s', '1 h 00 min', '2 d 0 h'])
  assert.equal(formatAge('2026-01-01T00:00:00.000Z', Date.parse('2026-01-01T00:02:00.000Z')), '2 min 00 s ago')
  assert.equal(formatAge('2026-01-01T00:02:00.000Z', Date.parse('2026-01-01T00:00:00.000Z')), 'in 2 min 00 s')
})

test('sizes, times and numbers are read strictly', () => {
  assert.deepEqual(
    ['30', '30s', '5m', '2h', '1d'].map((text) => parseSeconds(text, '-t')),
    [30, 30, 300, 7200, 86_400],
  )
  assert.deepEqual(
    ['512', '512m', '2G'].map((text) => parseMebibytes(text, '-m')),
    [512, 512, 2048],
  )
  for (const text of ['', '-1', '1.5m', '5 m', '1w', '0x10', '1e3', 'constructor']) {
    assert.throws(() => parseSeconds(text, '-t'), { code: 'usage' })
    assert.throws(() => parseMebibytes(text, '-m'), { code: 'usage' })
    assert.throws(() => parseCount(text, '-n', { min: 0, max: 9 }), { code: 'usage' })
  }
  assert.throws(() => parseCount('10', '-n', { min: 0, max: 9 }), { code: 'usage' })
})

test('a typo finds what was meant, nonsense finds nothing', () => {
  const names = ['job ls', 'job logs', 'login', 'logout', 'ingest', 'search']
  assert.equal(findNearest('igenst', names), 'ingest')
  assert.equal(findNearest('seach', names), 'search')
  assert.equal(findNearest('job lgos', names), 'job logs')
  assert.equal(findNearest('ing', names), 'ingest')
  assert.equal(findNearest('zzzzzz', names), undefined)
  assert.equal(findNearest('x', []), undefined)
})

const textOf = (line: Line): string =>
  (Array.isArray(line) ? line : [line]).map((piece) => (typeof piece === 'string' ? piece : piece.text)).join('')

test('columns align, and the last one gives way to the width of the terminal', () => {
  const rows = [
    ['a', '日本', 'x'.repeat(50)],
    ['long name', '', 'y'],
  ]
  const lines = tableLines(['NAME', 'B', 'LAST'], rows, 40).map(textOf)
  assert.deepEqual(lines, ['NAME       B   LAST', `a          日本  ${'x'.repeat(24)}…`, 'long name      y'])
  assert.equal(tableLines(['NAME'], [['x'.repeat(500)]]).map(textOf)[1]?.length, 500)
  assert.deepEqual(
    fieldLines([
      ['a', '1'],
      ['bcd', undefined],
      ['ef', '2'],
    ]).map(textOf),
    ['  a   1', '  ef  2'],
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createBlobStream } from './blob-stream.ts'
import { createTreeListing, type ListedFile } from './tree-listing.ts'

const limits = { maxEntries: 100, maxFileBytes: 1_000, maxTotalBytes: 10_000, maxPathBytes: 255 }
const oid = 'a'.repeat(40)

function emptySkipped() {
  return { binary: 0, tooLarge: 0, symlinks: 0, submodules: 0, encoding: 0, names: 0, overLimit: 0 }
}

/** The same bytes cut at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1))), bytes.length].toSorted((a, b) => a - b)
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

test('a listing means the same however the pipe cuts it', () => {
  const records = [
    `100644 blob ${oid}      12\tsrc/a.ts`,
    `100755 blob ${oid}    1001\tbig`,
    `120000 blob ${oid}       3\tlink`,
    `160000 commit ${oid}       -\tsub`,
    `100644 blob ${oid}       1\tline\nbreak`,
    `100644 blob ${oid}       1\t${'p'.repeat(20_000)}`,
    `100664 blob ${oid}       5\told mode`,
  ]
  const bytes = Buffer.from(records.map((record) => `${record}\0`).join(''))
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 40 }), (places) => {
      const skipped = emptySkipped()
      const listing = createTreeListing(limits, skipped)
      for (const chunk of cut(bytes, places)) assert.equal(listing.push(chunk), true)
      assert.deepEqual(
        listing.files.map((file) => file.path),
        ['src/a.ts', 'old mode'],
      )
      assert.deepEqual(skipped, { ...emptySkipped(), tooLarge: 1, symlinks: 1, submodules: 1, names: 2 })
    }),
  )
})

test('a listing ends at the cap on entries', () => {
  const listing = createTreeListing({ ...limits, maxEntries: 3 }, emptySkipped())
  const record = Buffer.from(`100644 blob ${oid} 1\tf\0`)
  assert.deepEqual(
    [1, 2, 3, 4].map(() => listing.push(record)),
    [true, true, true, false],
  )
  assert.equal(listing.entries, 3)
})

test('a record without end is not buffered', () => {
  const skipped = emptySkipped()
  const listing = createTreeListing(limits, skipped)
  for (let index = 0; index < 1_000; index += 1) listing.push(Buffer.alloc(10_000, 'x'))
  listing.push(Buffer.from([0]))
  assert.equal(skipped.names, 1)
})

test('paths that walk or name git’s own folder are not handed over', () => {
  const skipped = emptySkipped()
  const listing = createTreeListing(limits, skipped)
  for (const path of ['../a', 'a/../b', './a', 'a//b', '/a', '.git/config', 'a/.GIT/b', 'a/']) {
    listing.push(Buffer.from(`100644 blob ${oid} 1\t${path}\0`))
  }
  assert.deepEqual([listing.files.length, skipped.names], [0, 8])
})

test('a record git would not print is an error', () => {
  for (const record of ['', 'x', `100644 blob zz 1\tf`, `100644 blob ${oid} 1 f`, `tree ${oid}\tf`]) {
    assert.throws(() => createTreeListing(limits, emptySkipped()).push(Buffer.from(`${record}\0`)), SyntaxError)
  }
})

test('blobs mean the same however the pipe cuts them, whatever they hold', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.nat()),
      (contents, places) => {
        const files: ListedFile[] = contents.map((content, index) => ({ oid, bytes: content.length, path: `${index}` }))
        const parts = contents.map((content) => [
          Buffer.from(`${oid} blob ${content.length}\n`),
          Buffer.from(content),
          Buffer.from('\n'),
        ])
        const seen: Buffer[] = []
        const stream = createBlobStream(files, (_file, content) => seen.push(Buffer.from(content)))
        for (const chunk of cut(Buffer.concat(parts.flat()), places)) stream.push(chunk)
        assert.ok(stream.isComplete)
        assert.deepEqual(
          seen,
          contents.map((content) => Buffer.from(content)),
        )
      },
    ),
  )
})

test('a missing object, another object, another size or more than was asked for is an error', () => {
  const file = { oid, bytes: 2, path: 'f' }
  const answers = [
    `${oid} missing\n`,
    `${oid} tree 2\nab\n`,
    `${oid} blob 3\nabc\n`,
    `${oid} blob 2\nabX`,
    `${'b'.repeat(40)} blob 2\nab\n`,
  ]
  for (const answer of [...answers, `${oid} blob 2\nab\n${oid} blob 2\n`, 'x'.repeat(200)]) {
    const stream = createBlobStream([file], () => undefined)
    assert.throws(() => stream.push(Buffer.from(answer)), SyntaxError, answer)
  }
})

test('a stream that ends early is not complete', () => {
  const stream = createBlobStream([{ oid, bytes: 2, path: 'f' }], () => undefined)
  stream.push(Buffer.from(`${oid} blob 2\nab`))
  assert.equal(stream.isComplete, false)
})

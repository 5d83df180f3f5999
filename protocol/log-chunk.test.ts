import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createLogSplitter, findChunkFault, type LogStream, maxChunkBytes } from './log-chunk.ts'

const nowMs = () => 1_900_000_000_000

test('text of any characters, cut anywhere, comes out whole in chunks of at most 16 KiB', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
      fc.integer({ min: 1, max: 4000 }),
      fc.integer({ min: 1, max: 70_000 }),
      (unit, times, step) => {
        const bytes = Buffer.from(unit.repeat(times).slice(0, 100_000).toWellFormed())
        const splitter = createLogSplitter({ nowMs })
        const chunks = []
        for (let at = 0; at < bytes.length; at += step)
          chunks.push(...splitter.push('stdout', bytes.subarray(at, at + step)))
        chunks.push(...splitter.flush())
        assert.equal(chunks.map((chunk) => chunk.text).join(''), bytes.toString())
        for (const chunk of chunks) assert.equal(findChunkFault(chunk.text), undefined)
      },
    ),
    { numRuns: 15 },
  )
})

test('arbitrary bytes become valid text without NUL, the same however they are cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 9 }), (bytes, step) => {
      const splitter = createLogSplitter({ nowMs })
      const pieces = []
      for (let at = 0; at < bytes.length; at += step)
        pieces.push(...splitter.push('stderr', bytes.subarray(at, at + step)))
      pieces.push(...splitter.flush())
      const text = pieces.map((chunk) => chunk.text).join('')
      const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).replaceAll('\0', '\ufffd')
      assert.equal(text, whole)
      for (const chunk of pieces) assert.equal(findChunkFault(chunk.text), undefined)
    }),
  )
})

test('numbers run over all streams without a gap and carry on from the first one asked for', () => {
  const splitter = createLogSplitter({ firstSeq: 7, nowMs })
  const streams: LogStream[] = ['stdout', 'stderr', 'system']
  const chunks = streams.flatMap((stream) => splitter.push(stream, Buffer.alloc(maxChunkBytes + 1, 0x61)))
  assert.deepEqual(
    chunks.map((chunk) => chunk.seq),
    [7, 8, 9, 10, 11, 12],
  )
  assert.equal(chunks[0]?.at, nowMs())
})

test('a character split between two reads appears once, and streams do not mix', () => {
  const splitter = createLogSplitter({ nowMs })
  const euro = Buffer.from('€')
  assert.deepEqual(splitter.push('stdout', euro.subarray(0, 1)), [])
  assert.equal(splitter.push('stderr', Buffer.from('x'))[0]?.text, 'x')
  assert.equal(splitter.push('stdout', euro.subarray(1))[0]?.text, '€')
})

test('an unfinished character at the end is replaced, and an empty one leaves nothing', () => {
  const splitter = createLogSplitter({ nowMs })
  assert.deepEqual(splitter.push('stdout', Buffer.from('€').subarray(0, 2)), [])
  assert.equal(splitter.flush()[0]?.text, '\ufffd')
  assert.deepEqual(splitter.flush(), [])
})

test('a chunk the splitter would not have made is found', () => {
  assert.match(findChunkFault('€'.repeat(maxChunkBytes / 3 + 1)) ?? '', /longer/)
  assert.match(findChunkFault('a\0b') ?? '', /not text/)
  assert.match(findChunkFault('\ud800') ?? '', /not text/)
  assert.match(findChunkFault('') ?? '', /empty/)
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createRedactor, placeholder, type Redactor } from './redactor.ts'
import { findSecretPatterns } from './secret-values.ts'

/** Redacts in pieces of these lengths, in turn. */
function inPieces(redactor: Redactor, bytes: Buffer, lengths: readonly number[]): string {
  const stream = redactor.open()
  const parts: Buffer[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    parts.push(stream.push(bytes.subarray(at, at + length)).bytes)
    at += length
  }
  return Buffer.concat([...parts, stream.end().bytes]).toString('latin1')
}

/** The same by looking for every value at every place. */
function slowly(patterns: readonly Buffer[], bytes: Buffer): string {
  return show(bytes, findCuts(patterns, bytes))
}

function findCuts(patterns: readonly Buffer[], bytes: Buffer): Uint8Array {
  const cut = new Uint8Array(bytes.length)
  for (const pattern of patterns)
    for (let at = bytes.indexOf(pattern); at !== -1; at = bytes.indexOf(pattern, at + 1))
      cut.fill(1, at, at + pattern.length)
  return cut
}

function show(bytes: Buffer, cut: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at++)
    text += cut[at] === 1 ? (cut[at - 1] === 1 ? '' : placeholder) : bytes.toString('latin1', at, at + 1)
  return text
}

/** Letters of which no shape is made, so few that values overlap, repeat and begin inside each other. */
const letter = fc.constantFrom('a', 'b', 'k', 'é', '\n', ' ')
const value = fc.string({ unit: letter, minLength: 6, maxLength: 12 }).filter((text) => text.trim().length >= 6)
const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })
const scene = fc.array(value, { minLength: 1, maxLength: 4 }).chain((values) =>
  fc.record({
    values: fc.constant(values),
    // Whole values, their beginnings, and noise.
    text: fc
      .array(
        fc.oneof(
          fc.constantFrom(
            ...values,
            ...findSecretPatterns({ secrets: Object.fromEntries(Object.entries(values)) }).map(String),
          ),
          fc.constantFrom(...values).chain((each) => fc.nat(each.length).map((length) => each.slice(0, length))),
          fc.string({ unit: letter, maxLength: 5 }),
        ),
        { maxLength: 12 },
      )
      .map((parts) => parts.join('')),
  }),
)

describe('the values of a job', () => {
  test('are in no output however it is cut, and what else there is stays', () => {
    fc.assert(
      fc.property(scene, lengths, ({ values, text }, pieces) => {
        const secrets = Object.fromEntries(Object.entries(values))
        const patterns = findSecretPatterns({ secrets })
        const bytes = Buffer.from(`${text}.`)
        const redactor = createRedactor({ secrets })
        const shown = inPieces(redactor, bytes, pieces)
        assert.equal(shown, inPieces(redactor, bytes, [bytes.length]))
        assert.equal(shown, slowly(patterns, bytes))
        for (const pattern of patterns) assert.ok(!shown.includes(pattern.toString('latin1')))
      }),
      { numRuns: 150 },
    )
  })

  test('are found in any bytes, and the other bytes come out as they went in', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.uint8Array({ maxLength: 60 }),
        lengths,
        (before, after, pieces) => {
          const secrets = { A: 'k\u0000\u0001secret' }
          const bytes = Buffer.concat([before, Buffer.from(secrets.A), after])
          const shown = inPieces(createRedactor({ secrets }), bytes, pieces)
          assert.equal(shown, slowly(findSecretPatterns({ secrets }), bytes))
        },
      ),
    )
  })

  const value = 'p4ss/w~rd "é"\tend?'
  const redactor = createRedactor({ secrets: { A: value, KEY: 'first-line-1\r\n\r\nsecond-line-2\n' } })
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const forms: Record<string, string> = {
    'as they are': value,
    'in Base64': base64(value),
    'in Base64 with a line break at its end': base64(`${value}\n`),
    'in Base64 behind one byte': base64(`:${value}`).slice(2),
    'in Base64 behind two bytes': base64(`a:${value}:b`).slice(3),
    'in Base64 for addresses': Buffer.from(value).toString('base64url'),
    'in hexadecimal': Buffer.from(value).toString('hex'),
    'in hexadecimal, in capitals': Buffer.from(value).toString('hex').toUpperCase(),
    'in an address': encodeURIComponent(value),
    'in a form': new URLSearchParams({ '': value }).toString().slice(1).replace('%7E', '~'),
    'in JSON': JSON.stringify(value).slice(1, -1),
    'in JSON inside of JSON': JSON.stringify(JSON.stringify(value)).slice(3, -3),
    'a line of several': 'second-line-2',
  }
  for (const [how, text] of Object.entries(forms)) {
    test(`are found ${how}`, () => {
      const shown = redactor.text(`<${text}>`)
      assert.ok(shown.includes(placeholder), shown)
      assert.ok(shown.length <= placeholder.length + 8, shown)
    })
  }

  test('are found in Base64 that is broken into lines', () => {
    const long = 'x1'.repeat(200)
    for (const width of [64, 76]) {
      const lines = base64(long).replace(new RegExp(`.{${width}}`, 'g'), '$&\n')
      assert.match(
        createRedactor({ secrets: { A: long } }).text(`${lines}.`),
        /^(?:\[redacted\]\n)+(?:\[redacted\])?.{0,5}\.$/,
      )
    }
  })

  test('that begin at the end of the output are cut out from their sixth character on', () => {
    const redactor = createRedactor({ secrets: { A: 'abcdefghijkl' } })
    assert.equal(redactor.text('x abcdefgh'), `x ${placeholder}`)
    assert.equal(redactor.text('x abcde'), 'x abcde')
  })

  test('are found in names and values of whatever is told', () => {
    const told = { 'a abcdefgh': ['abcdefgh', 1, null, { b: 'abcdefgh?' }], c: true }
    assert.deepEqual(createRedactor({ secrets: { A: 'abcdefgh' } }).value(told), {
      'a [redacted]': ['[redacted]', 1, null, { b: '[redacted]?' }],
      c: true,
    })
  })
})

test('nothing waits that could not become a secret', () => {
  const stream = createRedactor({ secrets: { A: 'xyz-secret-value' } }).open()
  const push = (text: string) => stream.push(Buffer.from(text)).bytes.toString()
  assert.equal(push('done: 42\n'), 'done: 42\n')
  assert.equal(push('50 % xyz-'), '50 % ')
  assert.equal(push('!'), 'xyz-!')
  assert.equal(push('xyz-secret'), '')
  assert.equal(push('-value'), placeholder)
  assert.equal(push(' at http'), ' at htt')
  assert.equal(push('://host'), 'p://')
  assert.equal(push('/'), 'host/')
})

test('what stands for what is said in bytes of what went in, also across a gap', () => {
  const stream = createRedactor({ secrets: { A: 'secret-value' } }).open()
  assert.deepEqual(stream.push(Buffer.from('a secret-value b')), { bytes: Buffer.from('a [redacted] '), endByte: 15 })
  assert.deepEqual(stream.end(100), { bytes: Buffer.from('b'), endByte: 16 })
  assert.deepEqual(stream.push(Buffer.from('c\nd\n')), { bytes: Buffer.from('[redacted]\nd\n'), endByte: 120 })
})

describe('a value that missing output has torn', () => {
  const redactor = createRedactor({ secrets: { A: 'abcdefghijkl', B: 'x'.repeat(2000) } })
  const around = (before: string, after: string): string[] => {
    const stream = redactor.open()
    const parts = [stream.push(Buffer.from(before)), stream.end(7), stream.push(Buffer.from(after)), stream.end()]
    return [0, 2].map((at) => Buffer.concat(parts.slice(at, at + 2).map(({ bytes }) => bytes)).toString())
  }

  test('is shown neither before the gap nor behind it', () => {
    assert.deepEqual(around('1 abcdef', 'ghijkl 2\n3 abcdefghijkl\n'), [
      `1 ${placeholder}`,
      `${placeholder}\n3 ${placeholder}\n`,
    ])
  })

  test('hides the rest of its line however that comes, and 4 KiB of it where no line ends', () => {
    const stream = redactor.open()
    stream.end(7)
    const shown = Array.from({ length: 6000 }, () => stream.push(Buffer.from('.')).bytes)
    assert.equal(Buffer.concat(shown).toString(), `${placeholder}${'.'.repeat(6000 - 4096)}`)
  })

  test('hides nothing where nothing is missing', () => {
    const stream = redactor.open()
    stream.end()
    assert.equal(stream.push(Buffer.from('1 2\n')).bytes.toString(), '1 2\n')
  })
})

describe('a value over two streams', () => {
  /** Which bytes of each stream are cut out: by the stream alone, and by both in the order written. */
  function slowlyTogether(patterns: readonly Buffer[], pieces: readonly (readonly [number, Buffer])[]): string[] {
    const whole = Buffer.concat(pieces.map(([, bytes]) => bytes))
    const places = pieces.flatMap(([stream, bytes]) => [...bytes].map(() => stream))
    const inWhole = findCuts(patterns, whole)
    return [0, 1].map((stream) => {
      const bytes = Buffer.from(whole.filter((_, at) => places[at] === stream))
      const cut = findCuts(patterns, bytes)
      const together = inWhole.filter((_, at) => places[at] === stream)
      return show(
        bytes,
        cut.map((byte, at) => byte | (together[at] ?? 0)),
      )
    })
  }

  test('is in neither of them, however they take turns, and all else stays', () => {
    const turns = fc.array(fc.tuple(fc.constantFrom(0 as const, 1 as const), fc.integer({ min: 1, max: 9 })), {
      minLength: 1,
      maxLength: 6,
    })
    fc.assert(
      fc.property(scene, turns, ({ values, text }, turns) => {
        const secrets = Object.fromEntries(Object.entries(values))
        const pieces: (readonly [0 | 1, Buffer])[] = []
        const bytes = Buffer.from(text)
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const [stream, length] = turns[turn % turns.length] ?? [0, 1]
          pieces.push([stream, bytes.subarray(at, at + length)])
          at += length
        }
        // What ends all that may still become a value.
        pieces.push([0, Buffer.from('.')], [1, Buffer.from('.')])
        const streams = createRedactor({ secrets }).openTogether(2)
        const shown: [string, string] = ['', '']
        const give = (at: 0 | 1, bytes: Buffer | undefined): void => {
          const given = bytes === undefined ? streams[at]?.end() : streams[at]?.push(bytes)
          shown[at] += given?.bytes.toString('latin1')
        }
        for (const [stream, piece] of pieces) {
          give(stream, piece)
          give(stream === 0 ? 1 : 0, Buffer.alloc(0))
        }
        for (const at of [0, 1] as const) give(at, undefined)
        assert.deepEqual(shown, slowlyTogether(findSecretPatterns({ secrets }), pieces))
      }),
      { numRuns: 300 },
    )
  })

  test('is cut out from its sixth character on where it ends with the output', () => {
    const [out, err] = createRedactor({ secrets: { A: 'abcdefghijkl' } }).openTogether(2)
    assert.ok(out !== undefined && err !== undefined)
    assert.deepEqual(
      [out.push(Buffer.from('1 abcd')).bytes.toString(), err.push(Buffer.from('efgh')).bytes.length],
      ['1 ', 0],
    )
    assert.deepEqual([out.end().bytes.toString(), err.end().bytes.toString()], [placeholder, placeholder])
  })

  test('costs what the output does, whatever is looked for and printed', () => {
    const stepsFor = (bytes: number): number => {
      const redactor = createRedactor({ secrets: { A: 'a'.repeat(500), B: `${'a'.repeat(499)}b` } })
      const streams = redactor.openTogether(2)
      for (let at = 0; at < bytes; at++) streams[at % 2]?.push(Buffer.from('a'))
      return redactor.steps()
    }
    const [small, large] = [stepsFor(4000), stepsFor(40_000)]
    assert.ok(large < small * 11, `${small} → ${large}`)
  })
})

test('the cost grows with the output alone, whatever is looked for and printed', () => {
  const hostile: Record<string, { secrets: Record<string, string>; unit: string }> = {
    'a value of one letter': { secrets: { A: 'a'.repeat(8000) }, unit: 'a' },
    'almost that value': { secrets: { A: `${'a'.repeat(8000)}b` }, unit: `${'a'.repeat(7999)}c` },
    'beginnings of addresses': { secrets: {}, unit: '://:@' },
    'beginnings of tokens': { secrets: {}, unit: 'eyJsk-ghp_npm_xoxb-' },
    'beginnings of keys': { secrets: {}, unit: '-----BEGIN PRIVATE KEY-----BEGIN ' },
    'beginnings of headers': { secrets: {}, unit: 'authorization:::: ' },
  }
  for (const [what, { secrets, unit }] of Object.entries(hostile)) {
    const stepsFor = (bytes: number): number => {
      const redactor = createRedactor({ secrets })
      inPieces(redactor, Buffer.alloc(bytes, unit), [1000])
      return redactor.steps()
    }
    const [small, large] = [stepsFor(40_000), stepsFor(400_000)]
    assert.ok(large < small * 11, `${what}: ${small} → ${large}`)
    assert.ok(large < 400_000 * 40, `${what}: ${large}`)
  }
})

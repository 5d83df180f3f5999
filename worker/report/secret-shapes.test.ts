import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRedactor, placeholder } from './redactor.ts'

const redactor = createRedactor({})

/** The same, given a byte at a time. */
function slowly(text: string): string {
  const stream = redactor.open()
  const parts = [...Buffer.from(text)].map((byte) => stream.push(Uint8Array.of(byte)).bytes)
  return Buffer.concat([...parts, stream.end().bytes]).toString()
}

function shows(printed: string, expected: string): void {
  assert.equal(redactor.text(printed), expected)
  assert.equal(slowly(printed), expected)
}

// Put together here, so that nobody who searches these files for secrets finds one.
const long = 'Ab1'.repeat(20)
const many = (triggers: string, rest: string) => triggers.split(' ').map((trigger) => `${trigger}${rest}`)
const tokens = [
  ...many('hs_live_ hs_test_ hse_ hsr_ hso_ hsd_', long.slice(0, 20)),
  ...many('ghp_ gho_ ghu_ ghs_ ghr_ github_pat_', long.slice(0, 20)),
  ...many('glpat- glrt- gldt- glptt- glcbt- glft- glsoat-', long.slice(0, 20)),
  ...many('xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xapp-', '1-2-abcdefg'),
  ...many('npm_ hf_ dop_v1_ dckr_pat_ shpat_ sk- sk-proj- ya29.', long.slice(0, 20)),
  ...many('sk_live_ sk_test_ rk_live_ rk_test_ whsec_', long.slice(0, 16)),
  ...many('AKIA ASIA', 'ABCDEFGH12345678'),
  ...many('AIza pypi- SG.', long.slice(0, 40)),
  `hooks.slack.com/services/${'T00/B00/'.padEnd(24, 'x')}`,
]
const header = `eyJ${long.slice(0, 20)}`

describe('a token', () => {
  for (const token of tokens.slice(0, -1))
    test(`that begins with ${token.slice(0, -10)} is cut out`, () => {
      shows(`"${token}" is it`, `"${placeholder}" is it`)
      shows(token, placeholder)
    })

  test('of JSON is cut out with or without a signature', () => {
    for (const token of [`${header}.${header}.${long}`, `${header}.${long}`, `${header}.${header}.`])
      shows(`is ${token}\n`, `is ${placeholder}\n`)
  })

  test('is none in the midst of a word, without its length, or without a digit where words look alike', () => {
    const plain = [
      'task-management-for-everybody-1',
      'sk-a-list-of-words-without-any',
      'ghp_short1',
      'my_ghp_abcdefghij0123456789',
      'eyJ.eyJ.eyJ',
      'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9',
      'XAKIAABCDEFGH12345678',
      'xoxb-',
    ]
    for (const text of plain) shows(`${text}\n`, `${text}\n`)
  })
})

describe('a private key', () => {
  const key = (label: string, end = '\n') =>
    `-----BEGIN ${label}-----${end}${`${long}${end}`.repeat(12)}-----END ${label}-----`
  const labels = ['PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY', 'OPENSSH PRIVATE KEY', 'PGP PRIVATE KEY BLOCK']
  for (const label of labels)
    test(`of the label ${label} is cut out to the end of its last line`, () => {
      for (const end of ['\n', '\r\n', '\\n']) shows(`a ${key(label, end)}\nb`, `a ${placeholder}\nb`)
    })

  test('whose end never comes is cut out to its cap', () => {
    const shown = redactor.text(`-----BEGIN PRIVATE KEY-----\n${'x'.repeat(70_000)}`)
    assert.match(shown, /^\[redacted\]x+$/)
    assert.ok(shown.length < 70_000 - 60_000)
  })

  test('of which a part was dropped is cut out behind it, too', () => {
    const stream = redactor.open()
    const push = (text: string) => stream.push(Buffer.from(text)).bytes.toString()
    assert.equal(push('-----BEGIN PRIVATE KEY-----\nabc'), placeholder)
    assert.deepEqual(stream.end(100), { bytes: Buffer.alloc(0), endByte: 31 })
    assert.equal(push('def\nghi\n-----END PRIVATE KEY-----\nfree\n'), `${placeholder}\nfree\n`)
  })

  test('is no certificate and no public key', () => {
    for (const label of ['CERTIFICATE', 'PUBLIC KEY']) shows(`${key(label)}\n`, `${key(label)}\n`)
  })
})

describe('the header Authorization', () => {
  const shown: Record<string, string> = {
    'Authorization: Basic YTpi\n': `Authorization: ${placeholder}\n`,
    'authorization: Bearer abc def\r\n': `authorization: ${placeholder}\r\n`,
    "curl -H 'AUTHORIZATION: token abc' x": `curl -H 'AUTHORIZATION: ${placeholder}' x`,
    '{"authorization":"abc","b":1}': `{"authorization":"${placeholder}","b":1}`,
    '{\\"Authorization\\": \\"abc\\"}': `{\\"Authorization\\": \\"${placeholder}\\"}`,
  }
  for (const [printed, expected] of Object.entries(shown))
    test(`is cut out of ${JSON.stringify(printed)}`, () => shows(printed, expected))

  test('is not what is said about it', () => shows('authorization was refused\n', 'authorization was refused\n'))

  test('is found by its bearer token alone', () => {
    shows('> Bearer  abcdefghijklmnop=\n', `> Bearer  ${placeholder}\n`)
    shows('the bearer of bad news\n', 'the bearer of bad news\n')
  })
})

describe('an address', () => {
  test('loses its credentials, not its host', () => {
    shows('at https://u:p@example.com/x', `at https://${placeholder}@example.com/x`)
    shows('redis://:secret@h:1 ', `redis://${placeholder}@h:1 `)
    shows('x://a:p@ss@h\n', `x://${placeholder}@h\n`)
    shows(`https://${long.slice(0, 20)}@h\n`, `https://${placeholder}@h\n`)
  })

  test('without credentials stays', () => {
    for (const text of ['https://example.com:8080/a@b?c=d@e', 'ssh://git@example.com/x', 'see http://a/ and b@c'])
      shows(`${text}\n`, `${text}\n`)
  })
})

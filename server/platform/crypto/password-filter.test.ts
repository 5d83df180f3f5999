import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { maxEntries } from './fuse-filter.ts'
import {
  buildPasswordFilter,
  hasPassword,
  PasswordFilterRefused,
  passwordKey,
  passwordKeyOfSha1,
  readPasswordFilter,
} from './password-filter.ts'

const passwords = Array.from({ length: 300 }, (_, index) => `a password of many ${index}`)
const built = () => buildPasswordFilter(BigUint64Array.from(passwords, passwordKey))

/** A file with some bytes replaced and the checksum that belongs to them, as somebody would make it who means it. */
function forge(change: (bytes: Buffer) => Buffer): Buffer {
  const bytes = change(Buffer.from(built().bytes))
  const sha256 = (data: Buffer) => createHash('sha256').update(data).digest()
  sha256(Buffer.concat([bytes.subarray(0, 28), sha256(bytes.subarray(60))])).copy(bytes, 28)
  return bytes
}

function withNumber(offset: number, value: number): Buffer {
  return forge((bytes) => {
    bytes.writeUInt32LE(value, offset)
    return bytes
  })
}

test('a file that was written is read back, and knows every password of it', () => {
  const { bytes, entries } = built()
  assert.equal(entries, passwords.length)
  const filter = readPasswordFilter(bytes)
  assert.ok(passwords.every((password) => hasPassword(filter, password)))
  assert.equal(hasPassword(filter, 'a password of nobody'), false)
})

test('a password is known by the SHA-1 under which breach lists publish it, composed or not', () => {
  const sha1 = createHash('sha1').update('caf\u00e9 au lait').digest('hex')
  assert.equal(passwordKeyOfSha1(sha1.toUpperCase()), passwordKey('cafe\u0301 au lait'))
  assert.notEqual(passwordKey('a'), passwordKey('A'))
})

test('a file in which any byte is another is refused', () => {
  const { bytes } = built()
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes)
    damaged.writeUInt8((damaged[at] ?? 0) ^ 1, at)
    assert.throws(() => readPasswordFilter(damaged), PasswordFilterRefused, `byte ${at}`)
  }
})

test('a file that is cut off, longer, empty or something else is refused', () => {
  const { bytes } = built()
  const wrong = [Buffer.alloc(0), bytes.subarray(0, 59), bytes.subarray(0, -2), Buffer.concat([bytes, Buffer.alloc(2)])]
  for (const file of [...wrong, Buffer.from('password\n'.repeat(100))])
    assert.throws(() => readPasswordFilter(file), PasswordFilterRefused)
})

test('sizes that contradict each other are refused, even under the right checksum', () => {
  const at = { segmentLength: 12, segmentCountLength: 16, entries: 20 }
  const forged = [
    withNumber(at.segmentLength, 0),
    withNumber(at.segmentLength, 2 ** 31),
    withNumber(at.segmentCountLength, 0),
    withNumber(at.segmentCountLength, 2 ** 32 - 1),
    withNumber(at.entries, maxEntries + 1),
    forge((bytes) => bytes.subarray(0, -2)),
  ]
  for (const file of forged) assert.throws(() => readPasswordFilter(file), /sizes contradict/)
  assert.doesNotThrow(() => readPasswordFilter(forge((bytes) => bytes)))
})

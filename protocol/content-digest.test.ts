import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contentDigest, createDigestVerifier, isContentDigest, parseContentDigest } from './content-digest.ts'

const hello = Buffer.from('{"hello": "world"}\n')
const helloDigest = 'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:'

test('the digest is that of RFC 9530 appendix B.1, and an empty body has one', () => {
  assert.equal(contentDigest(hello), helloDigest)
  assert.equal(contentDigest(new Uint8Array()), 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:')
})

test('a body in any chunks matches its digest, and no other body does', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), fc.nat(), (chunks, at) => {
      const whole = Buffer.concat(chunks)
      const verifier = createDigestVerifier(contentDigest(whole))
      for (const chunk of chunks) verifier.update(chunk)
      assert.ok(verifier.matches())
      if (whole.length === 0) return
      const value = contentDigest(whole)
      const index = at % whole.length
      whole.writeUInt8(whole.readUInt8(index) ^ 1, index)
      assert.ok(!isContentDigest(value, whole))
    }),
  )
})

test('a digest missing its body, or with bytes to spare, does not match', () => {
  assert.ok(!createDigestVerifier(helloDigest).matches())
  assert.ok(!isContentDigest(helloDigest, Buffer.concat([hello, Buffer.from('x')])))
})

test('other algorithms, several members and sloppy base64 are refused', () => {
  const values = [
    '',
    helloDigest.replace('sha-256', 'SHA-256'),
    helloDigest.replace('sha-256', 'sha-512'),
    helloDigest.replace('sha-256', 'md5'),
    `${helloDigest}, ${helloDigest}`,
    `${helloDigest};a=1`,
    helloDigest.replace('g=:', 'h=:'),
    helloDigest.replace('=:', ':'),
    ` ${helloDigest}`,
  ]
  for (const value of values) {
    assert.equal(parseContentDigest(value) !== undefined && value !== helloDigest, false, value)
    assert.ok(!isContentDigest(value, hello), value)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKeyRotationProven, proveKeyRotation } from './key-rotation.ts'
import { generateEncodedKeyPair, importPrivateKey, importPublicKey } from './keys.ts'

const [present, next, other] = [generateEncodedKeyPair(), generateEncodedKeyPair(), generateEncodedKeyPair()]
const rotation = { workerId: 'drone', presentKey: present.publicKey, newKey: next.publicKey }
const newKey = importPublicKey(next.publicKey)

test('a proof fits the one change it was made for', () => {
  const proof = proveKeyRotation(rotation, importPrivateKey(next))
  assert.ok(isKeyRotationProven(rotation, proof, newKey))
  for (const changed of [
    { ...rotation, workerId: 'wasp' },
    { ...rotation, presentKey: other.publicKey },
    { ...rotation, newKey: other.publicKey },
    { ...rotation, workerId: `drone\n${present.publicKey}` },
  ])
    assert.equal(isKeyRotationProven(changed, proof, newKey), false, JSON.stringify(changed))
})

test('only the new key can prove, and a proof has one spelling', () => {
  const foreign = proveKeyRotation(rotation, importPrivateKey(present))
  assert.equal(isKeyRotationProven(rotation, foreign, newKey), false)
  const proof = proveKeyRotation(rotation, importPrivateKey(next))
  for (const mangled of [`${proof}=`, `${proof.slice(0, -1)}_`, proof.slice(1), '', proof.toLowerCase()])
    assert.equal(isKeyRotationProven(rotation, mangled, newKey), false, mangled)
})

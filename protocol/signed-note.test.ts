import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import {
  type NoteRefused,
  noteSigner,
  openCheckpoint,
  openNote,
  readCheckpoint,
  readVerifierKey,
  signNote,
  writeCheckpoint,
  writeVerifierKey,
} from './signed-note.ts'

// The example of golang.org/x/mod/sumdb/note, from which C2SP's signed note was specified: another implementation's key, text and signature.
const peter = readVerifierKey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
const peterSeed = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1)
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
const signature =
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
const note = `${text}\n${signature}`

const privateKeyOf = (seed: Buffer) =>
  createPrivateKey({
    // RFC 8410: what stands before the 32 bytes of an Ed25519 key in PKCS #8.
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  })
const someone = (name: string) => noteSigner(name, generateKeyPairSync('ed25519').privateKey)
const refusal = (reason: string) => (error: NoteRefused) => error.name === 'NoteRefused' && error.reason === reason

test('a note of another implementation opens, and is written the same here', () => {
  assert.deepEqual(openNote(note, [peter]), { text, signedBy: [peter] })
  const signer = noteSigner('PeterNeumann', privateKeyOf(peterSeed))
  assert.equal(signNote(text, signer), note)
  assert.equal(writeVerifierKey(signer), 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
})

test('a note opens for nobody when a letter of it is another', () => {
  for (let at = 0; at < note.length; at++) {
    const changed = `${note.slice(0, at)}${note[at] === 'x' ? 'y' : 'x'}${note.slice(at + 1)}`
    assert.throws(() => openNote(changed, [peter]), { name: 'NoteRefused' }, `at ${at}`)
  }
  for (let length = 0; length < note.length; length++)
    assert.throws(() => openNote(note.slice(0, length), [peter]), { name: 'NoteRefused' })
})

test('what cannot be a note is malformed, however it is signed', () => {
  const [, encoded = ''] = /PeterNeumann (\S+)/.exec(signature) ?? []
  const odd = [
    '',
    '\n\n',
    text,
    signature,
    `${text}${signature}`,
    `${text}\n${signature.trimEnd()}`,
    `${text}\n${signature}\n`,
    `${text}\n- PeterNeumann ${encoded}\n`,
    `${text}\n— Peter Neumann ${encoded}\n`,
    `${text}\n— Peter+Neumann ${encoded}\n`,
    `${text}\n— PeterNeumann ${encoded.replace('=', '')}\n`,
    `${text}\n— PeterNeumann ${encoded.slice(0, -2)}N=\n`,
    `${text}\n— PeterNeumann AAAA\n`,
    `${text}\t\n${signature}`,
    `${text.trimEnd()}\r\n\n${signature}`,
    `${text}${'x'.repeat(200_000)}\n\n${signature}`,
  ]
  for (const each of odd) assert.throws(() => openNote(each, [peter]), refusal('malformed'), JSON.stringify(each))
  for (const each of ['no line break', 'a\tb\n', '\ud800\n']) {
    assert.throws(() => signNote(each, someone('a')), RangeError)
  }
})

test('signatures of strangers are ignored, but alone they open nothing', () => {
  const stranger = someone('stranger.example')
  const namesake = someone('PeterNeumann')
  const line = (signer: typeof stranger): string => signNote(text, signer).slice(text.length + 1)
  assert.deepEqual(openNote(`${text}\n${line(stranger)}${line(namesake)}${signature}`, [peter]).signedBy, [peter])
  assert.throws(() => openNote(`${text}\n${line(stranger)}${line(namesake)}`, [peter]), refusal('unknown_key'))
})

test('one bad signature in the name of a known key refuses the note, whoever else has signed', () => {
  const other = someone('other.example')
  const forged = signNote('something else\n', other).slice('something else\n'.length + 1)
  assert.throws(() => openNote(`${text}\n${signature}${forged}`, [peter, other]), refusal('signature'))
})

test('a verifier key is read only as it was written', () => {
  const [name, id, encoded = ''] = ['PeterNeumann', 'c74f20a3', writeVerifierKey(peter).split('+').slice(2).join('+')]
  const odd = [
    `${name}+c74f20a4+${encoded}`,
    `${name}+C74F20A3+${encoded}`,
    `Peter Neumann+${id}+${encoded}`,
    `Peter+Neumann+${id}+${encoded}`,
    `${name}+${id}+Z${encoded.slice(1)}`,
    `${name}+${id}+${encoded.slice(4)}`,
    `${name}+${id}`,
    '',
  ]
  for (const each of odd) assert.throws(() => readVerifierKey(each), RangeError, each)
  assert.throws(() => someone('has a space'), RangeError)
  assert.throws(() => noteSigner('x', generateKeyPairSync('x25519').privateKey), TypeError)
})

test('a checkpoint reads as the example of C2SP tlog-checkpoint says', () => {
  const body = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
  const checkpoint = readCheckpoint(body)
  assert.deepEqual([checkpoint.origin, checkpoint.size], ['example.com/behind-the-sofa', 20852163])
  assert.equal(writeCheckpoint(checkpoint), body)
  assert.equal(readCheckpoint(`${body}an extension\n`).size, 20852163)
  const root = body.split('\n')[2]
  const odd = [
    '',
    `\n1\n${root}\n`,
    `a\n01\n${root}\n`,
    `a\n-1\n${root}\n`,
    `a\n1e3\n${root}\n`,
    `a\n9999999999999999\n${root}\n`,
    `a\n1\n${root}`,
    `a\n1\n${root?.slice(4)}\n`,
    `a\n1\n${root?.replace('=', '')}\n`,
    `a\n1\n${root}\n\n`,
  ]
  for (const each of odd) assert.throws(() => readCheckpoint(each), refusal('malformed'), JSON.stringify(each))
})

test('the head of one log cannot pass for that of another', () => {
  const signer = someone('hive.example/audit')
  const root = Buffer.alloc(32, 7)
  const own = signNote(writeCheckpoint({ origin: signer.name, size: 5, root }), signer)
  assert.deepEqual(openCheckpoint(own, [signer]), { origin: signer.name, size: 5, root })
  const foreign = signNote(writeCheckpoint({ origin: 'other.example/audit', size: 5, root }), signer)
  assert.throws(() => openCheckpoint(foreign, [signer]), refusal('unknown_key'))
  assert.throws(() => openCheckpoint(signNote(text, signer), [signer]), refusal('malformed'))
})

import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import { getKeyAlgorithm, importPublicKey, type SignatureKey } from './keys.ts'

/** The signature type byte of Ed25519 (C2SP signed-note, §Signature types). */
const ed25519Type = Buffer.from([1])
/** Larger than 16 post-quantum signatures of others, which a verifier must accept and ignore. */
const maxNoteLength = 128 * 1024
const signatureLine = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u
const keyName = /^[^\s+]+$/u

/** What a note's signatures are checked with; name and id together name the key. */
export interface NoteVerifier {
  readonly name: string
  /** Eight hexadecimal digits. */
  readonly id: string
  readonly key: SignatureKey
}

export interface NoteSigner extends NoteVerifier {
  /** The private half of `key`. */
  readonly privateKey: KeyObject
}

export type NoteRefusal = 'malformed' | 'unknown_key' | 'signature'

/** A signed note, or a checkpoint in one, is refused; `unknown_key` says that nobody known has signed it. */
export class NoteRefused extends Error {
  override name = 'NoteRefused'
  readonly reason: NoteRefusal
  constructor(reason: NoteRefusal) {
    super(`signed note refused: ${reason}`)
    this.reason = reason
  }
}

/** The verifier of a raw Ed25519 public key in base64url; throws a RangeError for a name that no signature line can hold. */
export function noteVerifier(name: string, publicKey: string): NoteVerifier {
  const key = importPublicKey(publicKey)
  return { name: requireName(name), id: keyIdOf(name, Buffer.from(publicKey, 'base64url')), key }
}

/** A signer of this name; throws for another key than a private Ed25519 one. */
export function noteSigner(name: string, privateKey: KeyObject): NoteSigner {
  if (privateKey.type !== 'private' || getKeyAlgorithm(privateKey) !== 'ed25519')
    throw new TypeError('notes are signed with a private Ed25519 key')
  return { ...noteVerifier(name, publicHalf(privateKey)), privateKey }
}

/** The raw public key, base64url, of a private one. */
export function publicHalf(privateKey: KeyObject): string {
  return createPublicKey(privateKey).export({ format: 'jwk' }).x ?? ''
}

/** A verifier as one word, `name+id+base64`, as tools for signed notes read it. */
export function writeVerifierKey({ name, id, key }: NoteVerifier): string {
  const raw = Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url')
  return `${name}+${id}+${Buffer.concat([ed25519Type, raw]).toString('base64')}`
}

/** Reads what `writeVerifierKey` writes; throws a RangeError for anything else, also for an id that is not the key's. */
export function readVerifierKey(text: string): NoteVerifier {
  const [, name = '', id = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$/u.exec(text) ?? []
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.length !== 33 || bytes[0] !== ed25519Type[0]) throw new RangeError('not a verifier key of Ed25519')
  const verifier = noteVerifier(name, bytes.subarray(1).toString('base64url'))
  if (verifier.id !== id) throw new RangeError('the id of the verifier key is not its own')
  return verifier
}

/** Signs a text that ends with a line break (C2SP signed-note); throws a RangeError for one that no note can hold. */
export function signNote(text: string, { name, id, privateKey }: NoteSigner): string {
  if (!isNoteText(text)) throw new RangeError('not the text of a note')
  const signature = sign(null, Buffer.from(text, 'utf8'), privateKey)
  return `${text}\n— ${name} ${Buffer.concat([Buffer.from(id, 'hex'), signature]).toString('base64')}\n`
}

/**
 * The text of a note that at least one of the verifiers has signed; throws NoteRefused otherwise. Signatures of others are ignored, and one that
 * names a verifier but is not its own refuses the whole note.
 */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): { text: string; signedBy: NoteVerifier[] } {
  const end = note.lastIndexOf('\n\n')
  const text = note.slice(0, end + 1)
  const lines = note.slice(end + 2).split('\n')
  if (note.length > maxNoteLength || end < 0 || !isNoteText(text) || lines.pop() !== '' || lines.length === 0)
    throw new NoteRefused('malformed')
  const signedBy: NoteVerifier[] = []
  for (const line of lines) {
    const [, name, encoded = ''] = signatureLine.exec(line) ?? []
    const bytes = Buffer.from(encoded, 'base64')
    // One signature has one spelling: Node reads sloppy base64 too.
    if (bytes.length < 5 || bytes.toString('base64') !== encoded) throw new NoteRefused('malformed')
    const id = bytes.subarray(0, 4).toString('hex')
    const verifier = verifiers.find((each) => each.name === name && each.id === id)
    if (verifier === undefined) continue
    if (!verify(null, Buffer.from(text, 'utf8'), verifier.key, bytes.subarray(4))) throw new NoteRefused('signature')
    signedBy.push(verifier)
  }
  if (signedBy.length === 0) throw new NoteRefused('unknown_key')
  return { text, signedBy }
}

/** The head of a log: how many leaves it has and their root. */
export interface Checkpoint {
  /** Which log this is: a URL without its scheme. */
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

/** The note text of a checkpoint (C2SP tlog-checkpoint), without extension lines. */
export function writeCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${requireName(origin)}\n${size}\n${root.toString('base64')}\n`
}

/** Reads a note text as a checkpoint; throws NoteRefused for anything else. Extension lines are accepted and mean nothing. */
export function readCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', root = '', ...more] = text.split('\n')
  const bytes = Buffer.from(root, 'base64')
  const isSize = /^(0|[1-9]\d{0,15})$/.test(size) && Number.isSafeInteger(Number(size))
  const isRoot = bytes.length === 32 && bytes.toString('base64') === root
  if (origin === '' || !isSize || !isRoot || more.pop() !== '' || more.includes('')) throw new NoteRefused('malformed')
  return { origin, size: Number(size), root: bytes }
}

/** Opens the note of a checkpoint and reads it; the origin must be the name of a key that signed it, so that one log's head cannot pass for another's. */
export function openCheckpoint(note: string, verifiers: readonly NoteVerifier[]): Checkpoint {
  const { text, signedBy } = openNote(note, verifiers)
  const checkpoint = readCheckpoint(text)
  if (!signedBy.some(({ name }) => name === checkpoint.origin)) throw new NoteRefused('unknown_key')
  return checkpoint
}

function keyIdOf(name: string, publicKey: Buffer): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), ed25519Type, publicKey]), 'hex').slice(0, 8)
}

function requireName(name: string): string {
  if (!keyName.test(name) || !isNoteText(`${name}\n`)) throw new RangeError('not the name of a note’s key')
  return name
}

function isNoteText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: notes may hold none but the line break
  return text.endsWith('\n') && text.isWellFormed() && !/[\u0000-\u0009\u000b-\u001f]/.test(text)
}

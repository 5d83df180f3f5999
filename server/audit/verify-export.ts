import { canonicalJson } from '@hivesync/protocol/canonical-json.ts'
import { leafHash, subtreesOf } from '@hivesync/protocol/merkle.ts'
import type { NoteVerifier } from '@hivesync/protocol/signed-note.ts'
import { exportType } from './log-export.ts'
import { createVerifier, open, type Start, type Verification, type Verifier } from './verify.ts'

type Members = Record<string, unknown>

/**
 * Verifies an export by nothing but itself, the keys that the caller trusts, and checkpoints that were kept elsewhere: no database, no server. An export
 * that does not end with its last line is unjudged, like one that no given key has signed.
 */
export async function verifyExport(
  lines: AsyncIterable<string>,
  trusted: readonly NoteVerifier[],
  kept: readonly string[] = [],
): Promise<Verification> {
  let verifier: Verifier | undefined
  let keptSizes = new Map<number, string[]>()
  let size: number | undefined
  let number = 0
  for await (const text of lines) {
    number++
    const members = parse(text)
    if (verifier === undefined) {
      const start = readHeader(members)
      if (start === undefined) return refused('The first line is not that of an export of the audit log.')
      verifier = createVerifier(trusted, start)
      keptSizes = readKept(verifier, trusted, kept, start.size)
      checkKept(verifier, keptSizes)
    } else if (size !== undefined) verifier.find(verifier.size, `line ${number} comes after the last`)
    else if (typeof members?.seq === 'number') {
      verifier.leaf({ seq: members.seq, computed: compute(members.leaf) })
      checkKept(verifier, keptSizes)
    } else if (typeof members?.checkpoint === 'string')
      verifier.checkpoint(members.checkpoint, `the checkpoint in line ${number}`)
    else if (members?.type === 'end' && typeof members.size === 'number') size = members.size
    else verifier.find(verifier.size, `line ${number} is not one of an export`)
    if (verifier.isBroken) break
  }
  if (verifier === undefined) return refused('The export is empty.')
  return finish(verifier, size, keptSizes)
}

function finish(verifier: Verifier, size: number | undefined, kept: ReadonlyMap<number, string[]>): Verification {
  if (!verifier.isBroken) {
    for (const cut of kept.keys())
      verifier.find(
        verifier.size,
        `the given checkpoint says ${cut} leaves, and the export has ${verifier.size}: its end was cut off`,
      )
    if (size !== undefined && size !== verifier.size)
      verifier.find(Math.min(size, verifier.size), `the export says ${size} leaves and has ${verifier.size}`)
  }
  const result = verifier.finish(verifier.size)
  if (size !== undefined || result.outcome === 'tampered') return result
  const notes = [...result.notes, 'The last line is missing: the export is not whole.']
  return { ...result, outcome: 'unjudged', notes }
}

function readHeader(members: Members | undefined): Start | undefined {
  if (members?.type !== exportType || members.v !== 1 || !Array.isArray(members.hashes)) return undefined
  const { first, hashes } = members
  if (typeof first !== 'number' || !Number.isSafeInteger(first) || first < 0) return undefined
  const roots = hashes.map((hash: unknown) => Buffer.from(typeof hash === 'string' ? hash : '', 'base64'))
  const isWhole =
    roots.every((root) => root.length === 32) && roots.length === subtreesOf({ start: 0, end: first }).length
  return isWhole ? { size: first, hashes: roots } : undefined
}

/** The checkpoints kept elsewhere, by size. */
function readKept(verifier: Verifier, trusted: readonly NoteVerifier[], kept: readonly string[], first: number) {
  const sizes = new Map<number, string[]>()
  for (const note of kept) {
    const opened = open(note, trusted)
    if (typeof opened === 'string') verifier.find(null, `the given checkpoint: ${opened}`)
    else if (opened.size < first)
      verifier.note(`The given checkpoint of ${opened.size} leaves cannot be checked: they were pruned.`)
    else sizes.set(opened.size, [...(sizes.get(opened.size) ?? []), note])
  }
  return sizes
}

function checkKept(verifier: Verifier, kept: Map<number, string[]>): void {
  for (const note of kept.get(verifier.size) ?? []) verifier.checkpoint(note, 'the given checkpoint')
  kept.delete(verifier.size)
}

function compute(leaf: unknown): Buffer | string {
  try {
    // Whatever it is: canonicalJson refuses what has no one spelling.
    return leafHash(canonicalJson(leaf as Parameters<typeof canonicalJson>[0]))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return 'the leaf is not one that could be recorded'
  }
}

function parse(text: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Members) : undefined
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}

function refused(note: string): Verification {
  return { outcome: 'unjudged', leaves: 0, size: 0, checkpoints: 0, signedSize: 0, findings: [], notes: [note] }
}

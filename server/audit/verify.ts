import { type CompactRange, createCompactRange, type Subtree } from '@hivesync/protocol/merkle.ts'
import { NoteRefused, type NoteVerifier, openCheckpoint } from '@hivesync/protocol/signed-note.ts'
/** Something that a log nobody has touched never has. `seq` is the first leaf that it may concern; null where no leaf can be named. */
export interface Finding {
  seq: number | null
  what: string
}

export interface Verification {
  /** `unjudged`: nothing is wrong with what is there, but nothing signed covers it. */
  outcome: 'ok' | 'tampered' | 'unjudged'
  /** Leaves that were hashed again, and the size of the log they belong to. */
  leaves: number
  size: number
  /** Checkpoints whose signature and root are right; the largest of them covers `signedSize` leaves. */
  checkpoints: number
  signedSize: number
  /** The first finding is that of the smallest `seq`. */
  findings: Finding[]
  /** Sentences for people: what was not covered, and why. */
  notes: string[]
}

/** A leaf to be checked: its hash, computed anew from the event, or why there is none. The stored hash is there where the log itself is read. */
export interface LeafToVerify {
  seq: number
  computed: Buffer | string
  hash?: string
}

/** Where the tree begins when what came before was pruned: so many leaves, and the roots of the complete subtrees over them. */
export interface Start {
  size: number
  hashes: readonly Buffer[]
}

export interface Verifier {
  /** How many leaves the tree has so far. */
  readonly size: number
  /** Once true, the leaves that follow prove nothing any more. */
  readonly isBroken: boolean
  leaf(leaf: LeafToVerify): void
  /** A checkpoint, given when the tree has its size; `name` says which in a finding. */
  checkpoint(note: string, name: string): void
  find(seq: number | null, what: string): void
  note(text: string): void
  finish(size: number): Verification
}

/**
 * Builds the tree anew from events alone and holds checkpoints against it. Only `verifiers` can sign. `onSubtree` hears of every complete subtree, for
 * whoever has stored ones to compare.
 */
export function createVerifier(
  verifiers: readonly NoteVerifier[],
  start: Start = { size: 0, hashes: [] },
  onSubtree: (subtree: Subtree, root: Buffer) => void = () => {},
): Verifier {
  const range: CompactRange = createCompactRange(start.size, start.hashes, onSubtree)
  const findings: Finding[] = []
  const notes: string[] = []
  let isBroken = false
  let checkpoints = 0
  let signedSize = 0

  const breakAt = (seq: number | null, what: string): void => {
    isBroken = true
    findings.push({ seq, what })
  }

  return {
    get size() {
      return range.size
    },
    get isBroken() {
      return isBroken
    },
    leaf({ seq, computed, hash }) {
      if (isBroken) return
      const expected = range.size
      if (seq > expected) return breakAt(expected, 'leaves are missing')
      if (seq < expected) return breakAt(seq, 'a leaf is there twice, or out of order')
      if (typeof computed === 'string') return breakAt(seq, computed)
      if (hash !== undefined && computed.toString('base64') !== hash)
        return breakAt(seq, 'the event is not the one that was recorded, or its leaf was changed')
      range.append(computed)
    },
    checkpoint(note, name) {
      if (isBroken) return
      const opened = open(note, verifiers)
      if (typeof opened === 'string') return void findings.push({ seq: signedSize, what: `${name}: ${opened}` })
      if (opened.size !== range.size)
        return void findings.push({
          seq: signedSize,
          what: `${name}: it says ${opened.size} leaves, its place says ${range.size}`,
        })
      // Between the last root that was right and this one: which leaf it is, hashes cannot say.
      if (!opened.root.equals(range.root()))
        return breakAt(signedSize, `${name}: the leaves up to ${opened.size - 1} are not those that were signed`)
      checkpoints++
      signedSize = Math.max(signedSize, opened.size)
    },
    find(seq, what) {
      findings.push({ seq, what })
    },
    note(text) {
      notes.push(text)
    },
    finish(size) {
      const sorted = findings.toSorted(
        (a, b) => (a.seq ?? Number.MAX_SAFE_INTEGER) - (b.seq ?? Number.MAX_SAFE_INTEGER),
      )
      const isCovered = size === 0 || checkpoints > 0
      if (!isCovered)
        notes.push('No checkpoint covers these leaves: whether they are all, and the first ones, nobody can say.')
      else if (signedSize < size) notes.push(`${size - signedSize} leaves came after the last checkpoint.`)
      const outcome = sorted.length > 0 ? 'tampered' : isCovered ? 'ok' : 'unjudged'
      return { outcome, leaves: range.size - start.size, size, checkpoints, signedSize, findings: sorted, notes }
    },
  }
}

/** What a checkpoint says, or why it says nothing. */
export function open(note: string, verifiers: readonly NoteVerifier[]) {
  try {
    return openCheckpoint(note, verifiers)
  } catch (error) {
    if (!(error instanceof NoteRefused)) throw error
    const reasons = {
      malformed: 'it is not a checkpoint',
      unknown_key: 'no known key has signed it',
      signature: 'its signature is not that of the key it names',
    }
    return reasons[error.reason]
  }
}

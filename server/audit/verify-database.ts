import type { NoteVerifier } from '@hivesync/protocol/signed-note.ts'
import type { Db } from '../platform/db/db.ts'
import { run, statement } from '../platform/db/statement.ts'
import { hashEvent } from './leaf.ts'
import { prunedAction } from './pruned.ts'
import {
  type CheckpointRow,
  countLeaves,
  findFirstSeq,
  findLastCheckpoint,
  listCheckpoints,
  listHashes,
  listLeaves,
  type NodeRow,
  type StoredLeaf,
} from './queries.ts'
import { AuditBroken, nodeOf, readSubtrees, tileLeaves } from './tree.ts'
import { listVerifiers } from './verifiers.ts'
import { createVerifier, open, type Start, type Verification, type Verifier } from './verify.ts'

const pageLeaves = 2048
const pageCheckpoints = 500

export interface DatabaseVerification {
  /** Checkpoints that were kept elsewhere: what finds a log that was cut or rewritten as a whole. */
  kept?: readonly string[]
  /** The keys that count; those that the database names unless given. Whoever can write into it can add one there. */
  trusted?: readonly NoteVerifier[]
}

/**
 * Verifies the stored log: every event against its leaf, the leaves against the stored subtrees and the signed checkpoints, and those against the ones
 * that were kept elsewhere. Reads in pages, also while the server goes on writing.
 */
export async function verifyDatabase(db: Db, options: DatabaseVerification = {}): Promise<Verification> {
  const verifiers = options.trusted ?? (await listVerifiers(db))
  const end = await countLeaves(db)
  const first = (await findFirstSeq(db)) ?? 0
  const nodes: NodeRow[] = []
  const start = await readStart(db, first)
  const verifier = createVerifier(verifiers, typeof start === 'string' ? undefined : start, (subtree, root) => {
    const node = nodeOf(subtree, root)
    if (node !== undefined) nodes.push(node)
  })
  if (typeof start === 'string') verifier.find(0, start)
  else await verifyLeaves(db, { verifier, verifiers, nodes, first, end, kept: options.kept ?? [] })
  await verifyEvents(db, verifier)
  return verifier.finish(end)
}

/** What was pruned, as the roots that stay of it; or why that cannot be. */
async function readStart(db: Db, first: number): Promise<Start | string> {
  if (first % tileLeaves !== 0) return `the first ${first} leaves are missing, and no pruning takes that many`
  try {
    return { size: first, hashes: await readSubtrees(db, { start: 0, end: first }) }
  } catch (error) {
    if (!(error instanceof AuditBroken)) throw error
    return `the first ${first} leaves are missing, and so is what pruning leaves of them`
  }
}

interface Walk {
  verifier: Verifier
  verifiers: readonly NoteVerifier[]
  /** Subtrees that were completed and not yet compared. */
  nodes: NodeRow[]
  first: number
  end: number
  kept: readonly string[]
}

async function verifyLeaves(db: Db, walk: Walk): Promise<void> {
  const { verifier, first, end } = walk
  const checkpoints = new CheckpointQueue(db, walk)
  await checkpoints.begin()
  let prunedBefore = 0
  for (let at = first; at < end && !verifier.isBroken; at += pageLeaves) {
    const leaves = await listLeaves(db, at, Math.min(end, at + pageLeaves))
    for (const leaf of leaves) {
      verifier.leaf({ seq: leaf.seq, computed: compute(leaf), hash: leaf.hash })
      if (!verifier.isBroken) prunedBefore = Math.max(prunedBefore, prunedByEvent(leaf))
      if (checkpoints.nextSize === verifier.size) await checkpoints.check()
    }
    const missing = leaves.length < Math.min(end, at + pageLeaves) - at
    if (missing && !verifier.isBroken) verifier.find(verifier.size, 'leaves are missing')
    await compareNodes(db, walk)
    if (missing) return
  }
  if (verifier.isBroken) return
  if (prunedBefore < first)
    verifier.find(0, `the first ${first} leaves are missing, and no event says that they were pruned`)
  await checkpoints.finish()
}

function compute({ event }: StoredLeaf): Buffer | string {
  if (event === undefined) return 'the event of this leaf is gone'
  try {
    return hashEvent(event)
  } catch (error) {
    // A time outside of what a date can be.
    if (!(error instanceof RangeError)) throw error
    return 'the event holds what no event can'
  }
}

function prunedByEvent({ event }: StoredLeaf): number {
  if (event?.action !== prunedAction) return 0
  const { before }: { before?: unknown } = JSON.parse(event.details)
  return typeof before === 'number' ? before : 0
}

/** Holds the subtrees that were computed against those that are stored, level by level. */
async function compareNodes(db: Db, { verifier, nodes }: Walk): Promise<void> {
  for (const { level, position, hash } of nodes.splice(0)) {
    const [stored] = await listHashes(db, level, position, 1)
    const seq = position * tileLeaves ** level
    if (stored === undefined)
      verifier.find(seq, `the root of the subtree at level ${level}, position ${position} is missing`)
    else if (stored !== hash)
      verifier.find(seq, `the root of the subtree at level ${level}, position ${position} was changed`)
  }
}

/** The checkpoints of the database and those kept elsewhere, smallest first, each given to the verifier when the tree has its size. */
class CheckpointQueue {
  readonly #db: Db
  readonly #walk: Walk
  #stored: CheckpointRow[] = []
  #after = 0
  #kept: { size: number; note: string }[] = []

  constructor(db: Db, walk: Walk) {
    this.#db = db
    this.#walk = walk
  }

  get nextSize(): number {
    return Math.min(this.#stored[0]?.size ?? Number.MAX_SAFE_INTEGER, this.#kept[0]?.size ?? Number.MAX_SAFE_INTEGER)
  }

  /** Checkpoints of the pruned part have only their signatures left to check. */
  async begin(): Promise<void> {
    const { verifier, verifiers, kept, first } = this.#walk
    for (const note of kept) {
      const opened = open(note, verifiers)
      if (typeof opened === 'string') verifier.find(null, `the given checkpoint: ${opened}`)
      else if (opened.size < first)
        verifier.note(`The given checkpoint of ${opened.size} leaves cannot be checked: they were pruned.`)
      else this.#kept.push({ size: opened.size, note })
    }
    this.#kept.sort((a, b) => a.size - b.size)
    await this.#refill()
    for (let next = this.#stored[0]; next !== undefined && next.size < Math.max(first, 1); next = this.#stored[0]) {
      const opened = open(next.note, verifiers)
      if (typeof opened === 'string') verifier.find(next.size, `the checkpoint of ${next.size} leaves: ${opened}`)
      this.#stored.shift()
      await this.#refill()
    }
    if (this.nextSize === verifier.size) await this.check()
  }

  /** Checks all that have the size which the tree has now. */
  async check(): Promise<void> {
    const { verifier } = this.#walk
    while (this.nextSize === verifier.size && !verifier.isBroken) {
      const kept = this.#kept[0]
      if (kept?.size === verifier.size) {
        this.#kept.shift()
        verifier.checkpoint(kept.note, 'the given checkpoint')
        continue
      }
      const stored = this.#stored.shift()
      if (stored !== undefined) verifier.checkpoint(stored.note, `the checkpoint of ${stored.size} leaves`)
      await this.#refill()
    }
  }

  /** What is left is of a longer log than this one. */
  async finish(): Promise<void> {
    const { verifier, end } = this.#walk
    for (const { size } of this.#kept)
      verifier.find(end, `the given checkpoint says ${size} leaves, and the log has ${end}: its end was cut off`)
    // Signed while this verification was reading, over leaves that it did not read.
    const last = await findLastCheckpoint(this.#db)
    if (this.#stored[0] === undefined || last === undefined || (await countLeaves(this.#db)) >= last.size) return
    verifier.find(end, `a checkpoint of ${last.size} leaves was signed, and the log has ${end}: its end was cut off`)
  }

  async #refill(): Promise<void> {
    if (this.#stored.length > 0) return
    this.#stored = await listCheckpoints(this.#db, this.#after, pageCheckpoints)
    this.#after = this.#stored.at(-1)?.size ?? this.#after
  }
}

/** Events and leaves belong together one to one, but for those that wait; each query is one moment, so that a busy server is no finding. */
async function verifyEvents(db: Db, verifier: Verifier): Promise<void> {
  const [strange] = await run<{ count: number; id: string | null }>(
    db,
    statement`select count(*) as count, min(e.id) as id from audit_events e
      where not exists (select 1 from audit_leaves l where l.event_id = e.id)
        and not exists (select 1 from audit_pending p where p.event_id = e.id)`,
  )
  if (strange !== undefined && strange.count > 0)
    verifier.find(
      null,
      `${strange.count} events have no leaf and wait for none, first ${strange.id}: they were put in, or their leaves cut off`,
    )
  const [waiting] = await run<{ count: number; id: string | null }>(
    db,
    statement`select count(*) as count, min(p.event_id) as id from audit_pending p
      where not exists (select 1 from audit_events e where e.id = p.event_id)
        or exists (select 1 from audit_leaves l where l.event_id = p.event_id)`,
  )
  if (waiting !== undefined && waiting.count > 0)
    verifier.find(null, `${waiting.count} events wait for a leaf that are gone or have one, first ${waiting.id}`)
}

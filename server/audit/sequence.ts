import { type CompactRange, createCompactRange, isConsistent } from '@hivesync/protocol/merkle.ts'
import { openCheckpoint, signNote, writeCheckpoint } from '@hivesync/protocol/signed-note.ts'
import type { Context } from '../platform/context.ts'
import { sealPersonal } from '../platform/crypto/subject-key.ts'
import type { SigningKeyRow } from '../platform/crypto/token-signer.ts'
import type { Database, Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { runTogether } from '../platform/db/statement.ts'
import { ensureSigner, listVerifiers, makeSpareKey } from './keys.ts'
import { hashEvent } from './leaf.ts'
import {
  countLeaves,
  findLastCheckpoint,
  findLastLeaf,
  hasPending,
  insertCheckpoint,
  type LeafRow,
  listPending,
  type NodeRow,
  storeLeaves,
} from './queries.ts'
import { ensureSubjectKeys } from './subjects.ts'
import { AuditBroken, nodeOf, readConsistencyProof, readSubtrees } from './tree.ts'

/** Events in one transaction: at 500 it is about 10 ms in which SQLite serves nobody else. */
const batchSize = 500
/** Batches in one run; what is left comes with the next. */
const maxBatches = 40
/** A checkpoint covers at most so many new leaves, and follows the first of them by at most so long. */
const checkpointLeaves = 1000
export const checkpointEveryMs = 10_000

/** A tree as this process last left it. Another replica may have grown it since: then the size or the last hash differs. */
interface KnownTree {
  size: number
  hashes: readonly Buffer[]
  lastHash: string | undefined
}

const known = new WeakMap<Database, KnownTree>()
/** The largest size this process has seen signed: a log that is shorter has been cut. */
const signed = new WeakMap<Database, number>()

/**
 * Puts the committed events into the tree, in the order in which it finds them, and signs its head every ten seconds or 1,000 leaves. One at a time
 * over all replicas. Throws AuditBroken, and signs nothing, when what is stored does not continue what was signed.
 */
export async function sequenceAudit(ctx: Context): Promise<void> {
  for (let batch = 0; batch < maxBatches; batch++) {
    const count = await sequenceBatch(ctx)
    await signCheckpoint(ctx)
    if (count < batchSize) return
  }
}

/** Sequences everything that is committed and signs the head, however young the last checkpoint is: for a proof that is asked for, an export, a stop. */
export async function sealAudit(ctx: Context): Promise<void> {
  // What is committed meanwhile need not be in it: without a bound a busy server would never be done.
  for (let batch = 0; batch < maxBatches; batch++) if ((await sequenceBatch(ctx)) < batchSize) break
  await signCheckpoint(ctx, true)
}

const lockSequencer = (tx: Db): Promise<void> => withLock(tx, 'audit-sequencer')

/** Makes leaves of up to 500 events; answers how many. */
async function sequenceBatch(ctx: Context): Promise<number> {
  if (!(await hasPending(ctx.db.kysely))) return 0
  let tree: KnownTree | undefined
  const count = await ctx.db.transaction(async (tx) => {
    await lockSequencer(tx)
    const pending = await listPending(tx, batchSize)
    if (pending.length === 0) return 0
    const nodes: NodeRow[] = []
    const range = await openTree(ctx, tx, nodes)
    const subjects = pending.flatMap(({ subject, address }) => (subject === null || address === null ? [] : [subject]))
    const keys = await ensureSubjectKeys(ctx, tx, [...new Set(subjects)])
    const leaves: LeafRow[] = []
    for (const { address, ...event } of pending) {
      const key = event.subject === null ? undefined : keys.get(event.subject)
      const personal = JSON.stringify({ ip: address })
      const sealed = key === undefined || address === null ? null : sealPersonal(key, personal, event.id)
      const hash = hashEvent({ ...event, sealed })
      leaves.push({
        seq: range.size,
        eventId: event.id,
        subject: event.subject,
        sealed,
        hash: hash.toString('base64'),
      })
      range.append(hash)
    }
    await runTogether(tx, storeLeaves(leaves, nodes))
    tree = { size: range.size, hashes: [...range.hashes], lastHash: leaves.at(-1)?.hash }
    return leaves.length
  })
  if (tree !== undefined) known.set(ctx.db, tree)
  return count
}

/** The tree as it is stored, ready to grow; completed subtrees that are to be stored go into `nodes`. */
async function openTree(ctx: Context, tx: Db, nodes: NodeRow[]): Promise<CompactRange> {
  const last = await findLastLeaf(tx)
  const size = last === undefined ? 0 : last.seq + 1
  const remembered = known.get(ctx.db)
  const isCurrent = remembered?.size === size && remembered.lastHash === last?.hash
  const hashes = isCurrent ? remembered.hashes : await readSubtrees(tx, { start: 0, end: size })
  return createCompactRange(size, hashes, (subtree, root) => {
    const node = nodeOf(subtree, root)
    if (node !== undefined) nodes.push(node)
  })
}

async function signCheckpoint(ctx: Context, isWanted = false): Promise<void> {
  if (!(await isDue(ctx, ctx.db.kysely, isWanted))) return
  const spare = await makeSpareKey(ctx)
  const size = await ctx.db.transaction(async (tx) => {
    await lockSequencer(tx)
    // Another replica may have done it while this one waited.
    if (!(await isDue(ctx, tx, isWanted))) return undefined
    return signHead(ctx, tx, spare)
  })
  if (size !== undefined) signed.set(ctx.db, size)
}

async function isDue(ctx: Context, db: Db, isWanted: boolean): Promise<boolean> {
  const size = await countLeaves(db)
  const last = await findLastCheckpoint(db)
  if (size < (signed.get(ctx.db) ?? 0) || size < (last?.size ?? 0))
    throw new AuditBroken(`the log has ${size} leaves, fewer than were signed`)
  const added = size - (last?.size ?? 0)
  if (added === 0) return false
  // Without the clock's direction: after a step back of years nothing waits for years.
  const waited = last === undefined ? checkpointEveryMs : Math.abs(ctx.clock.now() - last.at)
  return isWanted || added >= checkpointLeaves || waited >= checkpointEveryMs
}

async function signHead(ctx: Context, tx: Db, spare: SigningKeyRow | undefined): Promise<number | undefined> {
  const range = await openTree(ctx, tx, [])
  const { size } = range
  const root = range.root()
  const last = await findLastCheckpoint(tx)
  if (last !== undefined) {
    // The attack: rows changed in the database, and our signature under it. A log never signs two histories.
    const before = openCheckpoint(last.note, await listVerifiers(tx))
    const proof = await readConsistencyProof(tx, before.size, size)
    if (!isConsistent({ from: before.size, to: size, fromRoot: before.root, toRoot: root, proof }))
      throw new AuditBroken(`the log no longer begins with the ${before.size} leaves that were signed`)
  }
  const signer = await ensureSigner(ctx, tx, size, spare)
  if (signer === undefined) return undefined
  const note = signNote(writeCheckpoint({ origin: signer.name, size, root }), signer)
  await insertCheckpoint(tx, { size, root: root.toString('base64'), at: ctx.clock.now(), note })
  return size
}

import {
  consistencyRanges,
  foldSubtrees,
  inclusionRanges,
  type LeafRange,
  nodeHash,
  type Subtree,
  subtreesOf,
} from '@hivesync/protocol/merkle.ts'
import type { Db } from '../platform/db/db.ts'
import { listHashes, type NodeRow } from './queries.ts'

/** Every eighth height is stored: a tile holds 256 hashes (C2SP tlog-tiles). */
export const tileHeight = 8
export const tileLeaves = 2 ** tileHeight

/** The stored log contradicts itself, or what was signed of it. Nothing more is signed then. */
export class AuditBroken extends Error {
  override name = 'AuditBroken'
}

/** The row that keeps a completed subtree; undefined for the heights that are not stored. */
export function nodeOf({ height, index }: Subtree, root: Buffer): NodeRow | undefined {
  if (height === 0 || height % tileHeight !== 0) return undefined
  return { level: height / tileHeight, position: index, hash: root.toString('base64') }
}

/** The root of a complete subtree, from at most 128 stored hashes; throws AuditBroken where they are not all there. */
export async function readSubtree(db: Db, { height, index }: Subtree): Promise<Buffer> {
  const level = Math.floor(height / tileHeight)
  const count = 2 ** (height % tileHeight)
  const hashes = await listHashes(db, level, index * count, count)
  if (hashes.length !== count) throw new AuditBroken(`the tree has a hole at level ${level}, position ${index * count}`)
  let row: Buffer[] = hashes.map((hash) => Buffer.from(hash, 'base64'))
  while (row.length > 1) {
    const above: Buffer[] = []
    for (let at = 0; at + 1 < row.length; at += 2) above.push(nodeHash(row[at] as Buffer, row[at + 1] as Buffer))
    row = above
  }
  return row[0] as Buffer
}

/** The roots of the complete subtrees of a range, left to right. */
export async function readSubtrees(db: Db, range: LeafRange): Promise<Buffer[]> {
  const roots: Buffer[] = []
  for (const subtree of subtreesOf(range)) roots.push(await readSubtree(db, subtree))
  return roots
}

export async function readRoot(db: Db, size: number): Promise<Buffer> {
  return foldSubtrees(await readSubtrees(db, { start: 0, end: size }))
}

/** The hashes that prove the leaf at `index` in the tree of `size`. */
export function readInclusionProof(db: Db, index: number, size: number): Promise<Buffer[]> {
  return readRanges(db, inclusionRanges(index, size))
}

/** The hashes that prove that the tree of `to` leaves begins with that of `from`. */
export function readConsistencyProof(db: Db, from: number, to: number): Promise<Buffer[]> {
  return readRanges(db, consistencyRanges(from, to))
}

async function readRanges(db: Db, ranges: readonly LeafRange[]): Promise<Buffer[]> {
  const hashes: Buffer[] = []
  for (const range of ranges) hashes.push(foldSubtrees(await readSubtrees(db, range)))
  return hashes
}

import { writeVerifierKey } from '@hivesync/protocol/signed-note.ts'
import type { Db } from '../platform/db/db.ts'
import { listVerifiers } from './keys.ts'
import { leafText } from './leaf.ts'
import { countLeaves, findFirstSeq, findLastCheckpoint, listCheckpoints, listLeaves } from './queries.ts'
import { AuditBroken, readSubtrees } from './tree.ts'

export const exportType = 'hivesync-audit-log'
const pageLeaves = 500
const pageCheckpoints = 100

/**
 * The log as JSON lines that prove themselves (`hivesync audit verify --export`): what stays of pruned leaves, then every leaf up to the last checkpoint,
 * each checkpoint behind the leaf it ends with, and a last line that says that it is whole. `prove` is called before each page is read.
 */
export async function* exportLog(db: Db, prove: () => Promise<void> = async () => {}): AsyncGenerator<string> {
  const last = await findLastCheckpoint(db)
  const end = last?.size ?? 0
  const first = end === 0 ? 0 : ((await findFirstSeq(db)) ?? (await countLeaves(db)))
  const verifiers = await listVerifiers(db)
  const hashes = (await readSubtrees(db, { start: 0, end: first })).map((hash) => hash.toString('base64'))
  const keys = verifiers.map(writeVerifierKey)
  yield line({ type: exportType, v: 1, origin: verifiers[0]?.name ?? null, keys, first, hashes })
  let checkpoints = await listCheckpoints(db, first - 1, pageCheckpoints)
  for (let at = first; at < end; at += pageLeaves) {
    await prove()
    const page = await listLeaves(db, at, Math.min(end, at + pageLeaves))
    if (page.length !== Math.min(end, at + pageLeaves) - at) throw new AuditBroken('leaves are missing')
    for (const { seq, event } of page) {
      if (event === undefined) throw new AuditBroken(`the event of leaf ${seq} is gone`)
      yield `{"seq":${seq},"leaf":${leafText(event)}}\n`
      while (checkpoints[0]?.size === seq + 1) {
        yield line({ checkpoint: checkpoints[0].note })
        checkpoints.shift()
        if (checkpoints.length === 0) checkpoints = await listCheckpoints(db, seq + 1, pageCheckpoints)
      }
    }
  }
  yield line({ type: 'end', size: end })
}

const line = (value: unknown): string => `${JSON.stringify(value)}\n`

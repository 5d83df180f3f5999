import type { LogLine } from '@hivesync/contracts/jobs.ts'
import type { LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { requireLease } from './lease.ts'
import { policy } from './policy.ts'
import { requireJob } from './read.ts'
import { storable } from './storable.ts'

/**
 * Stores an attempt's log in order and each chunk once: what arrives again is passed over, what would leave a gap is not stored and asked for again
 * (`nextSeq`). Beyond the size cap one line says that the log was cut, and the rest is dropped (`truncated`).
 */
export async function appendLog(
  ctx: Context,
  actor: Actor,
  token: string,
  chunks: readonly LogChunk[],
): Promise<{ nextSeq: number; truncated: boolean }> {
  const { jobId, reply } = await ctx.db.transaction(async (tx) => {
    const lease = await requireLease(ctx, tx, actor, token)
    const nextSeq = await findNextChunk(tx, lease.token)
    const fresh = contiguous(chunks, nextSeq).map((chunk) => ({ ...chunk, at: Math.min(chunk.at, latestTime(ctx)) }))
    const { logBytes, logSeq } = await tx
      .selectFrom('jobs')
      .select(['logBytes', 'logSeq'])
      .where('id', '=', lease.jobId)
      .executeTakeFirstOrThrow()
    if (logBytes >= policy.maxLogBytes) return { jobId: lease.jobId, reply: { nextSeq, truncated: true } }
    const room = { bytes: policy.maxLogBytes - logBytes, chunks: policy.maxLogChunks - logSeq }
    const { kept, bytes, truncated } = withinCap(fresh, room, ctx.clock.now())
    if (kept.length > 0) await store(tx, lease.jobId, lease.token, kept, bytes)
    return { jobId: lease.jobId, reply: { nextSeq: nextSeq + kept.length, truncated } }
  })
  ctx.bus.publish(`job:${jobId}`)
  return reply
}

// A worker's clock may be ahead, but a time that no calendar holds would make the whole log unreadable.
const latestTime = (ctx: Context): number => ctx.clock.now() + 86_400_000

async function findNextChunk(tx: Db, token: number): Promise<number> {
  const last = await tx
    .selectFrom('jobLogs')
    .select('chunkSeq')
    .where('token', '=', token)
    .orderBy('chunkSeq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return last === undefined ? 0 : last.chunkSeq + 1
}

function contiguous(chunks: readonly LogChunk[], nextSeq: number): LogChunk[] {
  const fresh: LogChunk[] = []
  for (const chunk of chunks) if (chunk.seq === nextSeq + fresh.length) fresh.push(chunk)
  return fresh
}

function withinCap(
  chunks: readonly LogChunk[],
  room: { bytes: number; chunks: number },
  now: number,
): { kept: LogChunk[]; bytes: number; truncated: boolean } {
  const kept: LogChunk[] = []
  let bytes = 0
  for (const chunk of chunks) {
    const size = Buffer.byteLength(chunk.text)
    // One place stays for the line that tells of the cut.
    if (bytes + size > room.bytes || kept.length + 1 >= room.chunks) {
      const cut = {
        seq: chunk.seq,
        stream: 'system' as const,
        at: now,
        text: `The log is longer than ${policy.maxLogBytes} bytes or ${policy.maxLogChunks} pieces; the rest is not kept.\n`,
      }
      return { kept: [...kept, cut], bytes: room.bytes, truncated: true }
    }
    kept.push(chunk)
    bytes += size
  }
  return { kept, bytes, truncated: false }
}

async function store(tx: Db, jobId: string, token: number, chunks: readonly LogChunk[], bytes: number): Promise<void> {
  const { logSeq } = await tx
    .updateTable('jobs')
    .set((eb) => ({ logSeq: eb('logSeq', '+', chunks.length), logBytes: eb('logBytes', '+', bytes) }))
    .where('id', '=', jobId)
    .returning('logSeq')
    .executeTakeFirstOrThrow()
  const first = logSeq - chunks.length
  const rows = chunks.map(({ seq, stream, at, text }, i) => ({
    jobId,
    seq: first + i,
    token,
    chunkSeq: seq,
    stream,
    at,
    text: storable(text),
  }))
  await tx.insertInto('jobLogs').values(rows).execute()
}

const defaultLimit = 100

/** The log from after a sequence number on, over all attempts; numbers are contiguous, so a reader sees a gap as a gap. */
export async function readLog(ctx: Context, actor: Actor, jobId: string, query: { after?: string; limit?: string }) {
  await requireJob(ctx.db.kysely, actor, jobId, 'jobs:read')
  const after = query.after === undefined ? -1 : Number(query.after)
  const items = await listLog(
    ctx.db.kysely,
    jobId,
    after,
    query.limit === undefined ? defaultLimit : Number(query.limit),
  )
  return { items, nextSeq: (items[items.length - 1]?.seq ?? after) + 1 }
}

export async function listLog(db: Db, jobId: string, after: number, limit: number): Promise<LogLine[]> {
  const rows = await db
    .selectFrom('jobLogs')
    .innerJoin('jobAttempts', 'jobAttempts.token', 'jobLogs.token')
    .select(['jobLogs.seq', 'jobAttempts.number', 'jobLogs.stream', 'jobLogs.at', 'jobLogs.text'])
    .where('jobLogs.jobId', '=', jobId)
    .where('jobLogs.seq', '>', after)
    .orderBy('jobLogs.seq')
    .limit(limit)
    .execute()
  return rows.map((row) => ({
    seq: row.seq,
    attempt: row.number,
    stream: row.stream as LogLine['stream'],
    at: isoTime(row.at),
    text: row.text,
  }))
}

import type { LogLine } from '@hivesync/contracts/jobs.ts'
import type { LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import { requireLease } from './lease.ts'
import { policy } from './policy.ts'
import { requireJob } from './read.ts'
import { storable } from './storable.ts'

/**
 * Stores an attempt's log in order and each chunk once: what arrives again is passed over, what would leave a gap is not stored and asked for again
 * (`nextSeq`). Beyond the size cap one line says that the log was cut, and the rest is dropped (`truncated`). Chunks whose places in the output do not follow
 * one another are refused: what is missing is said by a chunk of its own.
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
    const printed = await findPrinted(tx, lease.token)
    requirePlaces(fresh, printed)
    const { kept, bytes, truncated } = withinCap(fresh, room, ctx.clock.now())
    if (kept.length > 0) {
      await store(tx, lease.jobId, lease.token, kept, bytes)
      await setPrinted(tx, lease.token, printed, kept)
    }
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

type Printed = Record<'stdout' | 'stderr', number>

async function findPrinted(tx: Db, token: number): Promise<Printed> {
  return tx
    .selectFrom('jobAttempts')
    .select(['printedStdout as stdout', 'printedStderr as stderr'])
    .where('token', '=', token)
    .executeTakeFirstOrThrow()
}

/** A worker is not believed: a place said twice, passed over or turned back would show a log that hides something. */
function requirePlaces(chunks: readonly LogChunk[], printed: Printed): void {
  const ends: Printed = { ...printed }
  for (const { stream, startByte, endByte } of chunks) {
    // Remarks, and workers of the previous version, name no place.
    if (startByte === undefined && endByte === undefined) continue
    const follows = stream !== 'system' && startByte === ends[stream]
    if (!follows || !Number.isSafeInteger(endByte) || (endByte ?? 0) < (startByte ?? 0))
      throw new AppError('invalid_request', {}, { detail: 'The chunks of a stream do not follow one another' })
    ends[stream] = endByte ?? 0
  }
}

async function setPrinted(tx: Db, token: number, printed: Printed, kept: readonly LogChunk[]): Promise<void> {
  const endOf = (stream: keyof Printed) =>
    kept.reduce((end, chunk) => (chunk.stream === stream ? (chunk.endByte ?? end) : end), printed[stream])
  const [printedStdout, printedStderr] = [endOf('stdout'), endOf('stderr')]
  if (printedStdout === printed.stdout && printedStderr === printed.stderr) return
  await tx.updateTable('jobAttempts').set({ printedStdout, printedStderr }).where('token', '=', token).execute()
}

const isGap = ({ text, startByte, endByte }: LogChunk): boolean => text === '' && (endByte ?? 0) > (startByte ?? 0)

function contiguous(chunks: readonly LogChunk[], nextSeq: number): LogChunk[] {
  const fresh: LogChunk[] = []
  for (const chunk of chunks) if (chunk.seq === nextSeq + fresh.length) fresh.push(chunk)
  return fresh
}

/** A chunk as it is stored, with what it is instead of text. */
type Kept = LogChunk & { mark: 'gap' | 'truncated' | null }

function withinCap(
  chunks: readonly LogChunk[],
  room: { bytes: number; chunks: number },
  now: number,
): { kept: Kept[]; bytes: number; truncated: boolean } {
  const kept: Kept[] = []
  let bytes = 0
  for (const chunk of chunks) {
    const size = Buffer.byteLength(chunk.text)
    // One place stays for the line that tells of the cut.
    if (bytes + size > room.bytes || kept.length + 1 >= room.chunks) {
      const cut = {
        seq: chunk.seq,
        stream: 'system' as const,
        at: now,
        mark: 'truncated' as const,
        text: `The log is longer than ${policy.maxLogBytes} bytes or ${policy.maxLogChunks} pieces; the rest is not kept.\n`,
      }
      return { kept: [...kept, cut], bytes: room.bytes, truncated: true }
    }
    kept.push({ ...chunk, mark: isGap(chunk) ? 'gap' : null })
    bytes += size
  }
  return { kept, bytes, truncated: false }
}

async function store(tx: Db, jobId: string, token: number, chunks: readonly Kept[], bytes: number): Promise<void> {
  const { logSeq } = await tx
    .updateTable('jobs')
    .set((eb) => ({ logSeq: eb('logSeq', '+', chunks.length), logBytes: eb('logBytes', '+', bytes) }))
    .where('id', '=', jobId)
    .returning('logSeq')
    .executeTakeFirstOrThrow()
  const first = logSeq - chunks.length
  const rows = chunks.map(({ seq, stream, at, text, startByte, endByte, mark }, i) => ({
    jobId,
    seq: first + i,
    token,
    chunkSeq: seq,
    stream,
    at,
    text: storable(text),
    startByte: startByte ?? null,
    endByte: endByte ?? null,
    mark,
  }))
  await tx.insertInto('jobLogs').values(rows).execute()
}

const defaultLimit = 100

/** The log from after a sequence number on, over all attempts; numbers are contiguous, and output that was dropped is an item of its own. */
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
    .select(['jobLogs.startByte', 'jobLogs.endByte', 'jobLogs.mark'])
    .where('jobLogs.jobId', '=', jobId)
    .where('jobLogs.seq', '>', after)
    .orderBy('jobLogs.seq')
    .limit(limit)
    .execute()
  return rows.map(({ startByte, endByte, mark, ...row }) => ({
    seq: row.seq,
    attempt: row.number,
    stream: row.stream as LogLine['stream'],
    at: isoTime(row.at),
    text: row.text,
    ...(startByte !== null && { startByte }),
    ...(mark === 'gap' && { gap: { bytes: (endByte ?? 0) - (startByte ?? 0) } }),
    ...(mark === 'truncated' && { truncated: true as const }),
  }))
}

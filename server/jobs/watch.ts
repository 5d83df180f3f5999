import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { listLog } from './logs.ts'
import { isFinal, requireJob } from './read.ts'

/** A comment this often keeps proxies from closing a quiet stream, and tells us that the reader is gone. */
const keepAliveMs = 15_000
/** A reader that takes nothing for this long is cut off: it holds a socket and a batch in memory, and comes back with Last-Event-ID. */
const slowReaderMs = 30_000
/** Events of another replica reach us by looking; on one node the bus wakes us first. */
const lookAgainMs = 1000
const batch = 200
/** Streams that one person holds open at once, keys included: each is looked after once a second for as long as it lives. */
export const maxStreams = 32

interface Cursor {
  event: number
  log: number
}

/**
 * Streams a job's events and log as server-sent events (HTML Living Standard §9.2). The id of each names the place in both, so that a reader that comes back
 * with Last-Event-ID misses nothing and sees nothing twice. Ends after the final state; ends at once when the reader's rights end.
 */
export async function watchJob(
  ctx: Context,
  actor: Actor,
  jobId: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  await requireJob(ctx.db.kysely, actor, jobId, 'jobs:read')
  const cursor = readCursor(request.headers['last-event-id'])
  const leave = enter(ctx, actor)
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, {
    ...plainHeaders(reply),
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no',
  })
  raw.write(': connected\n\n')
  try {
    await stream(ctx, jobId, cursor, request, reply)
  } catch (error) {
    // The status line is long gone: closing is all that is left to say, and a client that reconnects is told properly.
    if (!(error instanceof AppError)) ctx.log.error({ event: 'stream_failed', requestId: request.id, jobId }, error)
  }
  leave()
  raw.end()
  return reply
}

const openStreams = new WeakMap<Context, Map<string, number>>()

/** Counts one more stream of the person, or refuses; the function returned counts it off. */
function enter(ctx: Context, actor: Actor): () => void {
  const counts = openStreams.get(ctx) ?? new Map<string, number>()
  openStreams.set(ctx, counts)
  const key = actor.userId ?? actor.id ?? ''
  const count = counts.get(key) ?? 0
  if (count >= maxStreams) {
    const detail = `At most ${maxStreams} live streams at once`
    throw new AppError('rate_limited', {}, { detail, headers: { 'retry-after': '5' } })
  }
  counts.set(key, count + 1)
  return () => {
    const left = (counts.get(key) ?? 0) - 1
    if (left > 0) counts.set(key, left)
    else counts.delete(key)
  }
}

async function stream(
  ctx: Context,
  jobId: string,
  cursor: Cursor,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { raw } = reply
  const news = createNews(ctx, jobId, raw)
  let lastWrite = ctx.clock.now()
  try {
    while (!news.isOver()) {
      const stamp = news.stamp()
      await request.revalidate()
      // Read before the events: if it is final here, all its events are in what follows.
      const job = await requireJob(ctx.db.kysely, request.actor, jobId, 'jobs:read')
      const text = await readNews(ctx, jobId, cursor)
      // The reader may have gone while we read: what is written then is never drained.
      if (news.isOver()) return
      if (text !== '') {
        lastWrite = ctx.clock.now()
        if (!raw.write(text)) await news.drained()
        continue
      }
      if (isFinal(job.state)) {
        raw.write(`id: ${cursor.event}.${cursor.log}\nevent: end\ndata: ${JSON.stringify({ state: job.state })}\n\n`)
        return
      }
      if (ctx.clock.now() - lastWrite >= keepAliveMs) {
        lastWrite = ctx.clock.now()
        raw.write(': alive\n\n')
      }
      await news.after(stamp)
    }
  } finally {
    news.close()
  }
}

/** The next events, then log lines, as event-stream text; moves the cursor past them. */
async function readNews(ctx: Context, jobId: string, cursor: Cursor): Promise<string> {
  const db = ctx.db.kysely
  const events = await db
    .selectFrom('jobEvents')
    .selectAll()
    .where('jobId', '=', jobId)
    .where('seq', '>', cursor.event)
    .orderBy('seq')
    .limit(batch)
    .execute()
  const lines = await listLog(db, jobId, cursor.log, batch)
  const parts: string[] = []
  for (const { seq, kind, data, at } of events) {
    cursor.event = seq
    parts.push(
      `id: ${cursor.event}.${cursor.log}\nevent: ${kind}\ndata: ${JSON.stringify({ ...JSON.parse(data), at: new Date(at).toISOString() })}\n\n`,
    )
  }
  for (const line of lines) {
    cursor.log = line.seq
    parts.push(`id: ${cursor.event}.${cursor.log}\nevent: log\ndata: ${JSON.stringify(line)}\n\n`)
  }
  return parts.join('')
}

function readCursor(header: string | string[] | undefined): Cursor {
  const [, event, log] = /^(\d{1,15})\.(-1|\d{1,15})$/.exec(typeof header === 'string' ? header : '') ?? []
  return { event: Number(event ?? 0), log: Number(log ?? -1) }
}

function plainHeaders(reply: FastifyReply): Record<string, string> {
  return Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]))
}

/** Waits for whatever may bring something new: news of the job, of rights, the clock, the reader's end. */
function createNews(ctx: Context, jobId: string, raw: FastifyReply['raw']) {
  let count = 0
  let isStopping = false
  let wake: () => void = () => {}
  const notice = (): void => {
    count++
    wake()
  }
  const stop = (): void => {
    isStopping = true
    notice()
  }
  const unsubscribe = [
    ctx.bus.subscribe(`job:${jobId}`, notice),
    ctx.bus.subscribe('identity', notice),
    ctx.bus.subscribe('stopping', stop),
  ]
  const timer = setInterval(notice, lookAgainMs).unref()
  raw.on('close', notice)
  return {
    /** The reader is gone, or the server stops: an open stream would hold the stop up until its timeout. */
    isOver: () => isStopping || raw.destroyed,
    stamp: () => count,
    after: (stamp: number) =>
      new Promise<void>((resolve) => {
        if (count !== stamp) resolve()
        else wake = resolve
      }),
    /** Resolves when the reader has taken what was written, or is gone: a slow reader costs memory of one batch, for a while. */
    drained: () =>
      new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timeout)
          raw.off('drain', end)
          raw.off('close', end)
          unsubscribeStop()
          resolve()
        }
        const unsubscribeStop = ctx.bus.subscribe('stopping', end)
        const timeout = setTimeout(() => raw.destroy(), slowReaderMs).unref()
        raw.once('drain', end)
        raw.once('close', end)
      }),
    close(): void {
      clearInterval(timer)
      for (const end of unsubscribe) end()
    },
  }
}

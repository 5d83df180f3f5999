import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import { streamLive } from '../platform/http/live-loop.ts'
import type { LiveEvent } from '../platform/http/live-stream.ts'
import { listLog } from './logs.ts'
import { isFinal, requireJob } from './read.ts'

const batch = 200

/** A place in a job's events and in its log. */
interface Cursor {
  event: number
  log: number
}

/**
 * Streams a job's events and log, as server-sent events or over a WebSocket. The id of each names the place in both, so that a reader that comes back with
 * Last-Event-ID, or `after`, misses nothing and sees nothing twice. Ends after the final state; ends at once when the reader's rights end.
 */
export async function watchJob(
  ctx: Context,
  actor: Actor,
  jobId: string,
  after: string | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  await requireJob(ctx.db.kysely, actor, jobId, 'jobs:read')
  // What a stream that reconnects by itself sends is newer than the address it began with.
  const cursor = readCursor(request.headers['last-event-id'] ?? after)
  return streamLive(ctx, request, reply, {
    topics: [`job:${jobId}`],
    async look(reader) {
      // Read before the events: if it is final here, all its events are in what follows.
      const { state } = await requireJob(ctx.db.kysely, reader, jobId, 'jobs:read')
      const events = await readNews(ctx, jobId, cursor)
      if (events.length > 0 || !isFinal(state)) return { events, isLast: false }
      return { events: [{ event: 'end', id: idOf(cursor), data: { state } }], isLast: true }
    },
  })
}

/** The next events, then log lines; moves the cursor past them. */
async function readNews(ctx: Context, jobId: string, cursor: Cursor): Promise<LiveEvent[]> {
  const db = ctx.db.kysely
  const rows = await db
    .selectFrom('jobEvents')
    .selectAll()
    .where('jobId', '=', jobId)
    .where('seq', '>', cursor.event)
    .orderBy('seq')
    .limit(batch)
    .execute()
  const lines = await listLog(db, jobId, cursor.log, batch)
  const events: LiveEvent[] = []
  for (const { seq, kind, data, at } of rows) {
    cursor.event = seq
    events.push({ event: kind, id: idOf(cursor), data: { ...JSON.parse(data), at: isoTime(at) } })
  }
  for (const line of lines) {
    cursor.log = line.seq
    events.push({ event: 'log', id: idOf(cursor), data: line })
  }
  return events
}

const idOf = ({ event, log }: Cursor): string => `${event}.${log}`

function readCursor(id: string | string[] | undefined): Cursor {
  const [, event, log] = /^(\d{1,15})\.(-1|\d{1,15})$/.exec(typeof id === 'string' ? id : '') ?? []
  return { event: Number(event ?? 0), log: Number(log ?? -1) }
}

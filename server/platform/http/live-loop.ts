import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../actor.ts'
import type { Context } from '../context.ts'
import { AppError } from '../errors.ts'
import { gaugeGroup } from '../gauges.ts'
import { type LiveEvent, type LiveStream, openLiveStream, type StreamEnd } from './live-stream.ts'

/** A sign of life this often keeps proxies from closing a quiet stream, and tells us that the reader is gone. */
const keepAliveMs = 15_000
/** A reader that takes nothing for this long is cut off: it holds a socket and a batch in memory, and comes back where it was. */
const slowReaderMs = 30_000
/** News of another replica reach us by looking; on one node the bus wakes us first. */
const lookAgainMs = 1000
/** Streams that one person holds open at once, keys included: each is looked after once a second for as long as it lives. */
export const maxStreams = 32

export interface Live {
  /** What wakes the stream before the second is over. */
  topics: readonly string[]
  /** What is new since the last look, for a reader who has just proved who it is; throws when its rights have ended. */
  look(actor: Actor): Promise<{ events: readonly LiveEvent[]; isLast: boolean }>
  /** Messages of a WebSocket are the data alone. */
  bare?: true
}

/**
 * Streams what `look` finds, as server-sent events or over a WebSocket, until it says that this was the last or the server stops. Before each look the
 * credentials are proved anew: the stream ends at once when the reader's session, key or rights end.
 */
export async function streamLive(
  ctx: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  live: Live,
): Promise<FastifyReply> {
  const leave = enter(ctx, request.actor)
  try {
    const stream = openLiveStream(request, reply, live)
    stream.end(await run(ctx, request, stream, live))
  } finally {
    leave()
  }
  return reply
}

const openStreams = new WeakMap<Context, Map<string, number>>()

/** The streams that are open at this moment. */
export const streamGauges = gaugeGroup({
  name: 'streams',
  families: { hivesync_live_streams: 'Live streams that are open' },
  read(ctx) {
    const counts = [...(openStreams.get(ctx)?.values() ?? [])]
    return [{ name: 'hivesync_live_streams', value: counts.reduce((sum, count) => sum + count, 0) }]
  },
})

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

async function run(ctx: Context, request: FastifyRequest, stream: LiveStream, live: Live): Promise<StreamEnd> {
  const news = createNews(ctx, stream, live.topics)
  try {
    return await follow(ctx, request, stream, live, news)
  } catch (error) {
    if (!(error instanceof AppError))
      ctx.log.error({ event: 'stream_failed', requestId: request.id, route: request.routeOptions.url ?? null }, error)
    return { error }
  } finally {
    news.close()
  }
}

async function follow(
  ctx: Context,
  request: FastifyRequest,
  stream: LiveStream,
  live: Live,
  news: News,
): Promise<StreamEnd> {
  let lastWrite = ctx.clock.now()
  while (!news.isOver()) {
    const stamp = news.stamp()
    await request.revalidate()
    const { events, isLast } = await live.look(request.actor)
    // The reader may have gone while we looked: what is written then is never taken.
    if (news.isOver()) break
    if (events.length > 0) {
      lastWrite = ctx.clock.now()
      if (!stream.send(events)) await news.taken()
      if (isLast) return 'done'
      continue
    }
    if (ctx.clock.now() - lastWrite >= keepAliveMs) {
      lastWrite = ctx.clock.now()
      stream.keepAlive()
    }
    await news.after(stamp)
  }
  return 'stopping'
}

type News = ReturnType<typeof createNews>

/** Waits for whatever may bring something new: news, of rights too, the clock, the reader's end. */
function createNews(ctx: Context, stream: LiveStream, topics: readonly string[]) {
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
  const unsubscribe = [...topics, 'identity'].map((topic) => ctx.bus.subscribe(topic, notice))
  unsubscribe.push(ctx.bus.subscribe('stopping', stop))
  const timer = setInterval(notice, lookAgainMs).unref()
  stream.onGone(notice)
  return {
    /** The reader is gone, or the server stops: an open stream would hold the stop up until its timeout. */
    isOver: () => isStopping || stream.isGone(),
    stamp: () => count,
    after: (stamp: number) =>
      new Promise<void>((resolve) => {
        if (count !== stamp) resolve()
        else wake = resolve
      }),
    /** Resolves when the reader has taken what was sent, or is gone: a slow reader costs memory of one batch, for a while. */
    taken: () =>
      new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timeout)
          unsubscribeStop()
          resolve()
        }
        const unsubscribeStop = ctx.bus.subscribe('stopping', end)
        const timeout = setTimeout(() => stream.cutOff(), slowReaderMs).unref()
        stream.onTaken(end)
      }),
    close(): void {
      clearInterval(timer)
      for (const end of unsubscribe) end()
    },
  }
}

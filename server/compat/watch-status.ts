import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { streamLive } from '../platform/http/live-loop.ts'
import { legacyWorkerStatus } from './ingest.ts'

/** Pharos' `/worker/status` over a WebSocket: the same JSON as one message at once, and again within a second of each change. */
export async function watchWorkerStatus(
  ctx: Context,
  actor: Actor,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  // Whoever may not read it is refused as any request, before there is a WebSocket.
  await legacyWorkerStatus(ctx, actor)
  let told = ''
  return streamLive(ctx, request, reply, {
    topics: [],
    bare: true,
    async look(reader) {
      const status = await legacyWorkerStatus(ctx, reader)
      const text = JSON.stringify(status)
      if (text === told) return { events: [], isLast: false }
      told = text
      return { events: [{ event: 'status', id: '', data: status }], isLast: false }
    },
  })
}

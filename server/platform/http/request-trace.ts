import type { FastifyReply, FastifyRequest } from 'fastify'
import { findTraceParent } from '../trace-parent.ts'
import type { Tracer } from '../tracing.ts'

/** Hands the span of an answered request over: its operation and route, never its path. */
export function traceRequest(tracer: Tracer, request: FastifyRequest, reply: FastifyReply): void {
  const { tracePlace, receivedAtMs, routeOptions, method, actor } = request
  if (tracePlace === undefined) return
  const { refusal, statusCode, elapsedTime } = reply
  tracer.end(tracePlace, findTraceParent(request.headers.traceparent), {
    name: routeOptions.config.endpoint?.name ?? 'unknown',
    kind: 'server',
    startMs: receivedAtMs,
    endMs: receivedAtMs + elapsedTime,
    attributes: {
      'http.request.method': method,
      'http.route': routeOptions.url ?? '',
      'http.response.status_code': statusCode,
      'hivesync.request.id': request.id,
      'hivesync.actor.kind': actor.kind,
      ...(refusal !== null && { 'error.type': refusal.code }),
    },
    isError: statusCode >= 500,
  })
}

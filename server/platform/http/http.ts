import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Actor, nobody } from '../actor.ts'
import type { Context } from '../context.ts'
import { AppError } from '../errors.ts'
import { createMemoryWindows } from '../limits/memory-windows.ts'
import type { Windows } from '../limits/windows.ts'
import { type Logger, pickLogFields } from '../logger.ts'
import { findTraceParent } from '../trace-parent.ts'
import { admit, admitUnknown } from './admit.ts'
import { bodyDigestOf, readBody, requireDigest } from './body.ts'
import { answerBrokenRequest } from './broken-request.ts'
import { createCors } from './cors.ts'
import { type Authenticators, createGuard } from './guard.ts'
import { securityHeaders } from './headers.ts'
import { createHostRule } from './host.ts'
import { methodsFor } from './methods.ts'
import { answerError, sendProblem } from './problems.ts'
import { createRateLimits } from './rate-limits.ts'
import { createRequestMetrics } from './request-metrics.ts'
import { traceRequest } from './request-trace.ts'
import { allowUpload, watchBodies } from './slow-bodies.ts'
import { asksForWebSocket, createHandshakeRule, routeUpgrades } from './websocket.ts'

/** Milliseconds a client has for its headers and for its body (slow clients hold a socket, never a worker), for an upload at most, and between requests. */
export interface Patience {
  headersMs: number
  /** An upload must bring some of its bytes in each such period. */
  requestMs: number
  uploadMs: number
  keepAliveMs: number
  /** How often headers and uploads are looked at. */
  checkMs: number
}
const defaultPatience: Patience = {
  headersMs: 10_000,
  requestMs: 30_000,
  uploadMs: 3_600_000,
  keepAliveMs: 65_000,
  checkMs: 1000,
}
const sweepEveryMs = 60_000
/** A body that took longer to arrive may have outlived the rights it was sent with: across replicas a revocation may take as long (requirement A6). */
const trustedMs = 1000
const anonymous: Actor = { ...nobody, requestId: null, ip: null }

/**
 * The HTTP server without routes: request ids, static headers, authentication before the body is read, limits, strict bodies and problem replies.
 * A route that does not carry an endpoint contract stops the boot.
 */
export function createHttp(
  ctx: Pick<Context, 'config' | 'clock' | 'random' | 'log' | 'metrics' | 'tracer'>,
  authenticators: Authenticators,
  patience: Patience = defaultPatience,
  windows: Windows = createMemoryWindows(ctx.clock.now),
): FastifyInstance {
  const { config, clock, random, log, tracer } = ctx
  const headers = securityHeaders(config)
  const cors = createCors(config)
  const measured = createRequestMetrics(ctx.metrics)
  const endpoints: Endpoint[] = []
  const answer = (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
    answerError(log, error, request, reply)
  const app = Fastify({
    logger: false,
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    bodyLimit: 64 * 1024,
    requestTimeout: patience.uploadMs,
    keepAliveTimeout: patience.keepAliveMs,
    http: {
      headersTimeout: patience.headersMs,
      connectionsCheckingInterval: patience.checkMs,
      maxHeaderSize: 16 * 1024,
      // Node's own refusal has no headers and no body; ours is in onRequest.
      requireHostHeader: false,
      shouldUpgradeCallback: (request) => asksForWebSocket(request, endpoints),
    },
    // What arrives on an open connection during a stop is served as always, and the connection then closed.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: {
      caseSensitive: true,
      ignoreTrailingSlash: false,
      ignoreDuplicateSlashes: false,
      maxParamLength: 200,
    },
    requestIdHeader: false,
    genReqId: (request) => requestIdOf(request.headers['x-request-id']) ?? random.id(),
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: false } },
    clientErrorHandler: answerBrokenRequest(headers, random.id, log, measured.noteBroken),
    // An address that cannot be read reaches no hook.
    frameworkErrors: (error, request, reply) => {
      welcome(request, reply, headers)
      cors.welcome(request, reply)
      answer(error, request, reply)
      logRequest(log, request, reply)
      measured.note(request, reply)
    },
  })
  watchBodies(app.server, patience.requestMs)
  // RFC 9110 §10.1.1: what is expected beside 100-continue may be ignored; Node would answer without our headers.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))

  const sweeper = setInterval(windows.sweep, sweepEveryMs).unref()
  app.addHook('onClose', async () => {
    clearInterval(sweeper)
    await windows.close()
  })
  const guard = createGuard(authenticators, createRateLimits(config.rateScale, windows))
  const requireHost = createHostRule(config)
  const requireHandshake = createHandshakeRule(config, cors)
  const requireStart = (request: FastifyRequest): void => {
    requireHost(request)
    requireHandshake(request)
  }
  app.decorateRequest('actor')
  app.decorateRequest('receivedAtMs', 0)
  app.decorateRequest('tracePlace', undefined)
  app.decorateReply('refusal', null)
  app.decorateRequest('revalidate', async function revalidate(this: FastifyRequest) {
    const endpoint = this.routeOptions.config.endpoint
    if (endpoint === undefined) return
    const identity = await guard.authenticate(endpoint, this)
    this.actor = guard.actor(identity, this)
    guard.authorise(endpoint, identity)
  })

  app.decorateRequest('requireStepUp', async function requireStepUp(this: FastifyRequest) {
    const operation = this.routeOptions.config.endpoint?.name ?? ''
    const proof = this.headers['step-up']
    const params = this.params as Record<string, string>
    const act = { operation, params, bodyDigest: bodyDigestOf(this) }
    await authenticators.stepUp(this.actor, act, typeof proof === 'string' ? proof : undefined)
  })

  app.addHook('onRoute', (route) => {
    const endpoint = route.config?.endpoint
    if (endpoint?.access === undefined)
      throw new Error(`The route ${String(route.method)} ${route.url} declares no access`)
    endpoints.push(endpoint)
  })

  function answerUnknown(request: FastifyRequest, reply: FastifyReply): void {
    const allowed = methodsFor(endpoints, request.url)
    if (allowed.length === 0) return sendProblem(reply, request.id, 'not_found')
    if (cors.answerPreflight(request, reply, allowed)) return
    sendProblem(reply, request.id, 'method_not_allowed', { headers: { allow: allowed.join(', ') } })
  }

  app.addHook('onRequest', (request, reply, done) => {
    welcome(request, reply, headers)
    cors.welcome(request, reply)
    request.receivedAtMs = clock.now()
    if (tracer !== undefined) request.tracePlace = tracer.begin(findTraceParent(request.headers.traceparent))
    // At once, not after the body has been read for nothing.
    if (request.is404) {
      admitUnknown(guard, request, reply, (error) => {
        if (error === undefined) answerUnknown(request, reply)
        else done(error)
      })
    } else admit(guard, requireStart, request, reply, done)
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, readBody)
  // Handed over as it comes: only routes that consume it let it through.
  app.addContentTypeParser('application/octet-stream', (request, payload, done) => {
    if (request.routeOptions.config.endpoint?.consumes === undefined)
      return done(new AppError('unsupported_media_type'))
    allowUpload(request.raw)
    done(null, payload)
  })
  app.addHook('preValidation', requireDigest)
  // Credentials are proved before the body is read, which may take half a minute: what was taken away meanwhile is gone.
  app.addHook('preHandler', (request, _reply, done) => {
    // A worker's proof is good once; its verbs ask the lease.
    const isWorker = request.routeOptions.config.endpoint?.access === 'worker'
    if (isWorker || Math.abs(clock.now() - request.receivedAtMs) <= trustedMs) return done()
    request.revalidate().then(() => done(), done)
  })

  let isStopping = false
  app.addHook('preClose', async () => {
    isStopping = true
  })
  app.addHook('onResponse', (request, reply, done) => {
    logRequest(log, request, reply)
    measured.note(request, reply)
    if (tracer !== undefined) traceRequest(tracer, request, reply)
    // Node closes the connections that are idle when the stop begins; one that falls idle later would hold it up until its timeout.
    if (isStopping) setImmediate(() => app.server.closeIdleConnections())
    done()
  })

  routeUpgrades(app)
  app.setErrorHandler(answer)
  app.setNotFoundHandler(answerUnknown)
  return app
}

/** A caller's own request id is kept when it cannot carry anything else (log injection). */
function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[A-Za-z0-9_-]{8,64}$/.test(header) ? header : undefined
}

function welcome(request: FastifyRequest, reply: FastifyReply, headers: Readonly<Record<string, string>>): void {
  request.actor = anonymous
  reply.headers(headers).header('x-request-id', request.id)
}

/** One line per request: what was asked by whom and what became of it, never what it carried. */
function logRequest(log: Logger, request: FastifyRequest, reply: FastifyReply): void {
  const { actor } = request
  const { refusal } = reply
  log.info({
    ...(refusal === null ? {} : { ...pickLogFields(refusal.details), code: refusal.code }),
    event: 'request',
    requestId: request.id,
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply.statusCode,
    durationMs: Math.round(reply.elapsedTime * 10) / 10,
    actor: actor.kind,
    actorId: actor.id,
  })
}

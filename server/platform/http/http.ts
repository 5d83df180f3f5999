import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { nobody } from '../actor.ts'
import type { Context } from '../context.ts'
import { AppError } from '../errors.ts'
import { SlidingWindow } from '../limits/sliding-window.ts'
import { readBody, requireDigest } from './body.ts'
import { answerBrokenRequest } from './broken-request.ts'
import { type Authenticators, createGuard } from './guard.ts'
import { securityHeaders } from './headers.ts'
import { methodsFor } from './methods.ts'
import { answerError, sendProblem } from './problems.ts'

/** Milliseconds a client has for its headers and for the whole request (slow clients hold a socket, never a worker), and between requests. */
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
const keepAliveTimeoutMs = 65_000
const windowMs = 60_000

/**
 * The HTTP server without routes: request ids, static headers, authentication before the body is read, limits, strict bodies and problem replies.
 * A route that does not carry an endpoint contract stops the boot.
 */
export function createHttp(ctx: Context, authenticators: Authenticators): FastifyInstance {
  const { config, clock, random, log } = ctx
  const headers = securityHeaders(config)
  const app = Fastify({
    logger: false,
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    bodyLimit: 64 * 1024,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    http: { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: 1000, maxHeaderSize: 16 * 1024 },
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
    clientErrorHandler: answerBrokenRequest(headers),
  })

  const window = new SlidingWindow(windowMs)
  const sweeper = setInterval(() => window.sweep(clock.now()), windowMs).unref()
  app.addHook('onClose', async () => clearInterval(sweeper))
  const guard = createGuard(authenticators, window, config.rateScale, clock.now)
  const anonymous = { ...nobody, requestId: null, ip: null }
  app.decorateRequest('actor')
  app.decorateRequest('revalidate', async function revalidate(this: FastifyRequest) {
    const endpoint = this.routeOptions.config.endpoint
    if (endpoint !== undefined) guard.authorise(endpoint, await guard.authenticate(endpoint, this))
  })

  const endpoints: Endpoint[] = []
  app.addHook('onRoute', (route) => {
    const endpoint = route.config?.endpoint
    if (endpoint?.access === undefined)
      throw new Error(`The route ${String(route.method)} ${route.url} declares no access`)
    endpoints.push(endpoint)
  })

  function admit(
    request: FastifyRequest,
    reply: FastifyReply,
    endpoint: Endpoint,
    identity: Parameters<typeof guard.actor>[0],
  ): void {
    const state = guard.limit(endpoint, identity, request.ip)
    if (state !== undefined) {
      const resetSeconds = Math.ceil(state.resetMs / 1000)
      reply
        .header('x-ratelimit-limit', state.limit)
        .header('x-ratelimit-remaining', state.remaining)
        .header('x-ratelimit-reset', resetSeconds)
      if (!state.allowed)
        throw new AppError('rate_limited', {}, { headers: { 'retry-after': String(Math.max(1, resetSeconds)) } })
    }
    guard.authorise(endpoint, identity)
    request.actor = guard.actor(identity, request.id, request.ip)
  }

  app.addHook('onRequest', (request, reply, done) => {
    request.actor = anonymous
    reply.headers(headers).header('x-request-id', request.id)
    const endpoint = request.routeOptions.config.endpoint
    if (endpoint === undefined) return done()
    try {
      const identity = guard.authenticate(endpoint, request)
      if (!(identity instanceof Promise)) {
        admit(request, reply, endpoint, identity)
        return done()
      }
      identity.then((proven) => admit(request, reply, endpoint, proven)).then(() => done(), done)
    } catch (error) {
      done(error as Error)
    }
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, readBody)
  app.addHook('preValidation', requireDigest)

  app.addHook('onResponse', (request, reply, done) => {
    const { actor } = request
    log.info({
      event: 'request',
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? null,
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime * 10) / 10,
      actor: actor.kind,
      actorId: actor.id,
    })
    done()
  })

  app.setErrorHandler((error: Error, request, reply) => answerError(log, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const allowed = methodsFor(endpoints, request.url)
    if (allowed.length > 0)
      return sendProblem(reply, request.id, 'method_not_allowed', { headers: { allow: allowed.join(', ') } })
    sendProblem(reply, request.id, 'not_found')
  })
  return app
}

/** A caller's own request id is kept when it cannot carry anything else (log injection). */
function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[A-Za-z0-9_-]{8,64}$/.test(header) ? header : undefined
}

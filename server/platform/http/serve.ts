import type { IncomingHttpHeaders } from 'node:http'
import type { BodyOf, Endpoint, ParamsOf, QueryOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type { TSchema } from '@hivesync/contracts/schema.ts'
import { object } from '@hivesync/contracts/values.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../actor.ts'
import { AppError } from '../errors.ts'
import { limitKeyOf } from './client-address.ts'
import { usualBodyBytes } from './request-plan.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    endpoint?: Endpoint
  }
  interface FastifyRequest {
    actor: Actor
    /** When its headers had arrived, and its credentials were proved. */
    receivedAtMs: number
    /** Its own place in a trace, where traces are collected. */
    tracePlace: string | undefined
    /** Proves the credentials once more and renews `actor`: a long-lived reply calls it before each piece, so that a revocation ends it and a lost role counts. */
    revalidate(): Promise<void>
    /** Requires the fresh proof of the person that a sensitive operation needs (requirement A8). */
    requireStepUp(): Promise<void>
  }
}

export interface Input<E> {
  actor: Actor
  params: ParamsOf<E>
  query: QueryOf<E>
  body: BodyOf<E>
  idempotencyKey: string | undefined
  userAgent: string | undefined
  /** What failures and floods are counted by: the IPv4 address or the /64 of the IPv6 address. Never stored or logged in clear. */
  source: string
  /** The header `DPoP` as it came, unproven (RFC 9449); several of them are one text that no proof matches. */
  deviceProof: string | undefined
  /** Aborts when the client hangs up before the reply. */
  signal: AbortSignal
}

const nothing = object({})

/** Serves an operation as its contract states it: what is not declared neither gets in nor out. */
export function serve<const E extends Endpoint>(
  app: FastifyInstance,
  endpoint: E,
  verb: (input: Input<E>) => Promise<ReplyOf<E>>,
): void {
  app.route({
    ...routeOf(endpoint),
    handler: async (request, reply) => {
      const result = await verb(inputOf<E>(request, reply))
      if (result === undefined && endpoint.emptyStatus !== undefined) return reply.code(endpoint.emptyStatus).send()
      reply.code(endpoint.status)
      // Only here, after the verb: a refusal keeps the `no-store` of every reply.
      if (endpoint.cacheSeconds !== undefined) reply.header('cache-control', `public, max-age=${endpoint.cacheSeconds}`)
      return endpoint.reply === null ? reply.send() : result
    },
  })
}

/** Serves an operation whose reply is not a JSON value: the handler owns the reply. */
export function serveRaw<const E extends Endpoint>(
  app: FastifyInstance,
  endpoint: E,
  handler: (input: Input<E>, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>,
): void {
  app.route({ ...routeOf(endpoint), handler: (request, reply) => handler(inputOf<E>(request, reply), request, reply) })
}

/** Whether a request brings a body, read or not. */
export function isBodySent(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** Refuses a body of another media type before anything of it is read. */
function requireMediaType(
  request: FastifyRequest,
  _reply: FastifyReply,
  _payload: unknown,
  done: (error?: Error) => void,
) {
  const { consumes } = request.routeOptions.config.endpoint ?? {}
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
  done(isBodySent(request.headers) && type !== consumes ? new AppError('unsupported_media_type') : undefined)
}

function routeOf(endpoint: Endpoint) {
  const schema: { params: TSchema; querystring: TSchema; body?: TSchema; response?: Record<number, TSchema> } = {
    params: endpoint.params ?? nothing,
    querystring: endpoint.query ?? nothing,
  }
  if (endpoint.body !== undefined) schema.body = endpoint.body
  if (endpoint.reply !== null) schema.response = { [endpoint.status]: endpoint.reply }
  return {
    method: endpoint.method,
    url: endpoint.path,
    // An upload is bounded where it is read; nothing else may be that long.
    bodyLimit: endpoint.consumes === undefined ? (endpoint.maxBodyBytes ?? usualBodyBytes) : usualBodyBytes,
    exposeHeadRoute: false,
    schema,
    config: { endpoint },
    ...(endpoint.consumes !== undefined && { preParsing: requireMediaType }),
    // After the schemas: a request that would be refused anyway must not cost the proof.
    ...(endpoint.stepUp && { preHandler: (request: FastifyRequest) => request.requireStepUp() }),
  }
}

// The schemas have judged these values before the verb runs; this is the one place where that proof becomes a type.
function inputOf<E>(request: FastifyRequest, reply: FastifyReply): Input<E> {
  const key = request.headers['idempotency-key']
  const proof = request.headers.dpop
  return {
    actor: request.actor,
    params: request.params as ParamsOf<E>,
    query: request.query as QueryOf<E>,
    body: request.body as BodyOf<E>,
    idempotencyKey: typeof key === 'string' ? key : undefined,
    userAgent: request.headers['user-agent'],
    source: limitKeyOf(request.ip),
    deviceProof: typeof proof === 'string' ? proof : undefined,
    get signal() {
      return hangUpSignal(request, reply)
    },
  }
}

// Made only for the verbs that wait: most requests never ask.
function hangUpSignal(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const { socket } = request.raw
  const abort = (): void => controller.abort()
  if (socket.destroyed) abort()
  else socket.once('close', abort)
  // A worker polls for days on one connection: what each poll left there would add up.
  reply.raw.once('close', () => socket.off('close', abort))
  return controller.signal
}

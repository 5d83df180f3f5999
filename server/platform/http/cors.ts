import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Config, isLoopback } from '../config.ts'

/** What a page may send beside what every page may (Fetch, "CORS-safelisted request-header"). */
const requestHeaders = [
  'authorization',
  'content-type',
  'dpop',
  'idempotency-key',
  'last-event-id',
  'step-up',
  'x-request-id',
]
/** What a page may read beside the usual. */
const replyHeaders = [
  'allow',
  'location',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'www-authenticate',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'x-request-id',
]
/** Browsers keep the answer to a preflight no longer than this anyway (Chromium two hours, WebKit ten minutes). */
const keepSeconds = 600

export interface Cors {
  /** Whether pages of this origin may call us. The server's own is not asked here: its requests are no cross-origin ones. */
  isAllowed(origin: string): boolean
  /** Tells the browser that the page may read this reply, where it may; to any other origin nothing is said, and the browser keeps the reply from it. */
  welcome(request: FastifyRequest, reply: FastifyReply): void
  /** Answers a preflight (Fetch, "CORS-preflight request") of an allowed origin for an address that has these methods; false for any other request. */
  answerPreflight(request: FastifyRequest, reply: FastifyReply, methods: readonly string[]): boolean
}

/**
 * Pages of other origins that may call this server with a token they hold (requirement M5): those of `HIVESYNC_CORS_ORIGINS`, compared whole, and in the local
 * profile any page of this machine. Cookies are never allowed along, so that no page can act as somebody who is signed in.
 */
export function createCors({ corsOrigins, profile }: Pick<Config, 'corsOrigins' | 'profile'>): Cors {
  const listed = new Set(corsOrigins)
  const isOwnMachine = (origin: string): boolean => {
    const url = URL.parse(origin)
    return url !== null && url.origin === origin && isLoopback(url.hostname.replace(/^\[|\]$/g, ''))
  }
  // `null`, the origin of sandboxed frames and of files, is everybody's: it is never in the list, for it is no origin.
  const isAllowed = (origin: string): boolean => listed.has(origin) || (profile === 'local' && isOwnMachine(origin))
  const canAllow = listed.size > 0 || profile === 'local'

  return {
    isAllowed,
    welcome({ headers: { origin } }, reply) {
      // Also without an origin: a cache must not give one page's reply to another (Fetch, "CORS protocol and HTTP caches").
      if (canAllow) reply.header('vary', 'Origin')
      if (origin === undefined || !isAllowed(origin)) return
      reply.header('access-control-allow-origin', origin)
      reply.header('access-control-expose-headers', replyHeaders.join(', '))
    },
    answerPreflight({ method, headers }, reply, methods) {
      const { origin, 'access-control-request-method': asked } = headers
      if (method !== 'OPTIONS' || asked === undefined || origin === undefined || !isAllowed(origin)) return false
      reply
        .code(204)
        .header('vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
        .header('access-control-allow-methods', methods.join(', '))
        .header('access-control-allow-headers', requestHeaders.join(', '))
        .header('access-control-max-age', keepSeconds)
        .send()
      return true
    },
  }
}

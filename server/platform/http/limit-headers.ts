import type { FastifyReply } from 'fastify'
import { AppError } from '../errors.ts'
import type { LimitVerdict } from './rate-limits.ts'

/**
 * Tells the client how its limits stand: `X-RateLimit-*` of the tightest one, and all of them as the fields `RateLimit-Policy` and `RateLimit` of the IETF
 * draft (draft-ietf-httpapi-ratelimit-headers-10, structured fields of RFC 9651). Seconds from now, rounded up: who waits so long gets through. Throws `rate_limited`.
 */
export function applyVerdict(reply: FastifyReply, { allowed, tightest, limits }: LimitVerdict): void {
  const resetSeconds = secondsOf(tightest.resetMs)
  reply
    .header('x-ratelimit-limit', tightest.limit)
    .header('x-ratelimit-remaining', tightest.remaining)
    .header('x-ratelimit-reset', resetSeconds)
    .header(
      'ratelimit-policy',
      limits.map(({ name, limit, windowMs }) => `"${name}";q=${limit};w=${windowMs / 1000}`).join(', '),
    )
    .header(
      'ratelimit',
      limits.map(({ name, remaining, resetMs }) => `"${name}";r=${remaining};t=${secondsOf(resetMs)}`).join(', '),
    )
  if (!allowed)
    throw new AppError(
      'rate_limited',
      { policy: tightest.name },
      { headers: { 'retry-after': String(Math.max(1, resetSeconds)) } },
    )
}

const secondsOf = (ms: number): number => Math.ceil(ms / 1000)

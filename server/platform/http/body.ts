import { isContentDigest } from '@hivesync/protocol/content-digest.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { sha256Base64url } from '../crypto/hash.ts'
import { AppError } from '../errors.ts'
import { parseJson } from './json.ts'
import { maxBodyBytesOf, requireShape } from './request-plan.ts'
import { isBodySent } from './serve.ts'

const digests = new WeakMap<FastifyRequest, string>()

/** The SHA-256 (base64url) of the body's bytes as they arrived, where the operation needs a step-up; null without a body. */
export function bodyDigestOf(request: FastifyRequest): string | null {
  return digests.get(request) ?? null
}

const checked = new WeakSet<FastifyRequest>()
const empty = Buffer.alloc(0)

/** Reads a JSON body; a worker's must have the digest that its signature covers (RFC 9530), checked before the body is parsed. */
export function readBody(
  request: FastifyRequest,
  body: string | Buffer,
  done: (error: Error | null, value?: unknown) => void,
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  try {
    checkDigest(request, bytes)
    if (request.routeOptions.config.endpoint?.stepUp) digests.set(request, sha256Base64url(bytes))
    if (bytes.length > maxBodyBytesOf(request)) throw new AppError('payload_too_large')
    const value = bytes.length === 0 ? undefined : parseJson(bytes)
    if (request.actor.plan !== undefined) requireShape(value, request.actor.plan)
    done(null, value)
  } catch (error) {
    done(error as Error)
  }
}

/** A request without a body is covered too: its digest is that of nothing. Operations that take no body refuse one, also where it was not read. */
export function requireDigest(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  try {
    const endpoint = request.routeOptions.config.endpoint
    // The digest of an upload is checked where it is read, by its end.
    if (endpoint?.consumes !== undefined) return done()
    if (request.body === undefined) checkDigest(request, empty)
    if (
      endpoint !== undefined &&
      endpoint.body === undefined &&
      (request.body !== undefined || isBodySent(request.headers))
    ) {
      // A GET's body would stay on the connection, where the next reader might take it for a request.
      throw new AppError(
        'invalid_request',
        {},
        { detail: 'This operation takes no body', headers: { connection: 'close' } },
      )
    }
    done()
  } catch (error) {
    done(error as Error)
  }
}

function checkDigest(request: FastifyRequest, body: Uint8Array): void {
  if (request.routeOptions.config.endpoint?.access !== 'worker' || checked.has(request)) return
  checked.add(request)
  const header = request.headers['content-digest']
  if (typeof header !== 'string' || !isContentDigest(header, body)) throw new AppError('digest_mismatch')
}

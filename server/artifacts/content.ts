import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { findCommitted } from './queries.ts'
import { readRange } from './range.ts'
import { isGranted } from './signed-link.ts'

/** A reader that takes nothing for so long has gone, or means harm. */
const stallMs = 60_000

interface SignedQuery {
  method: 'GET' | 'HEAD'
  expires: string
  signature: string
}

/**
 * Sends an artifact to whoever has a link that was signed for it and for this method; every other link gets the one refusal, so that it tells nothing. A stranger's bytes are always a
 * download of no particular type: never shown, run or sniffed as a page of this origin.
 */
export async function sendContent(
  ctx: Context,
  method: 'GET' | 'HEAD',
  artifactId: string,
  query: SignedQuery,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const now = ctx.clock.now()
  const grant = { artifactId, method, expires: Number(query.expires) }
  const isValid = query.method === method && isGranted(ctx.keyring, grant, query.signature, now)
  const artifact = isValid ? await findCommitted(ctx.db.kysely, artifactId, now) : undefined
  if (artifact === undefined || artifact.objectKey === null) throw new AppError('invalid_artifact_url', { artifactId })
  const { bytes, sha256, objectKey } = artifact
  const etag = `"${sha256}"`
  const { range, 'if-range': ifRange } = request.headers
  // RFC 9110 §14.2: only GET has ranges, and a range of another version is none.
  const isRanged = method === 'GET' && (ifRange === undefined || ifRange === etag)
  const wanted = isRanged ? readRange(range, bytes) : undefined
  if (wanted === 'unsatisfiable')
    throw new AppError('range_not_satisfiable', {}, { headers: { 'content-range': `bytes */${bytes}` } })
  const content = method === 'HEAD' ? undefined : await ctx.store.get(objectKey, wanted)
  reply.headers({
    'content-type': 'application/octet-stream',
    'content-length': wanted === undefined ? bytes : wanted.end - wanted.start + 1,
    'content-disposition': attachment(artifact.path),
    'content-security-policy': `${String(reply.getHeader('content-security-policy'))}; sandbox`,
    'accept-ranges': 'bytes',
    etag,
    // RFC 9530: of the whole content, also where a range of it is sent.
    'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
  })
  if (wanted !== undefined) reply.code(206).header('content-range', `bytes ${wanted.start}-${wanted.end}/${bytes}`)
  if (content === undefined) return reply.send()
  reply.raw.setTimeout(stallMs, () => reply.raw.destroy())
  return reply.send(Readable.from(content, { objectMode: false }))
}

/** `Content-Disposition` with the file's name (RFC 6266): plain letters for old readers, and all of it in UTF-8 (RFC 8187), where every special character is an escape. */
export function attachment(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const plain = name.replace(/[^A-Za-z0-9._-]/g, '_').slice(-150)
  const encoded = encodeURIComponent(name.toWellFormed()).replace(
    /['()*!~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}

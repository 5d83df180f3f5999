import type { Readable } from 'node:stream'
import type { BodyOf, Endpoint, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import { createDigestVerifier } from '@hivesync/protocol/content-digest.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../errors.ts'
import { type Input, isBodySent, serveRaw } from './serve.ts'

/** A body that is read while it arrives. */
export interface Upload {
  /**
   * Ends only if the body is whole, no longer than the contract allows, the one whose digest was signed, and sent by somebody whose credentials still
   * hold at its end; else it throws. To be read once, and nothing of it is to be acted on before its end.
   */
  readonly content: AsyncIterable<Buffer>
  /** Its length as the header states it; null when it comes in chunks. */
  readonly announcedBytes: number | null
}

/** Serves an operation whose body is bytes (`consumes`); answers as `serve` does. */
export function serveUpload<const E extends Endpoint & { consumes: string }>(
  app: FastifyInstance,
  endpoint: E,
  verb: (input: Omit<Input<E>, 'body'> & { upload: Upload; body: BodyOf<E> }) => Promise<ReplyOf<E>>,
): void {
  serveRaw(app, endpoint, async (input, request, reply) => {
    const length = request.headers['content-length']
    const announcedBytes = length === undefined ? null : Number(length)
    if (announcedBytes !== null && announcedBytes > (endpoint.maxBodyBytes ?? 0))
      throw new AppError('payload_too_large')
    const upload = { content: readContent(request, endpoint.maxBodyBytes ?? 0), announcedBytes }
    const result = await verb({ ...input, upload })
    return reply.code(endpoint.status).send(endpoint.reply === null ? undefined : result)
  })
}

async function* readContent(request: FastifyRequest, maxBytes: number): AsyncGenerator<Buffer> {
  const isWorker = request.routeOptions.config.endpoint?.access === 'worker'
  const verifier = isWorker ? createDigestVerifier(String(request.headers['content-digest'])) : undefined
  let bytes = 0
  for await (const chunk of bodyOf(request)) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new AppError('payload_too_large')
    verifier?.update(chunk)
    yield chunk
  }
  if (verifier?.matches() === false) throw new AppError('digest_mismatch')
  // What was taken away while it arrived is gone. A worker's proof is good once; its verbs ask the lease.
  if (!isWorker) await request.revalidate()
}

function bodyOf(request: FastifyRequest): AsyncIterable<Buffer> | Buffer[] {
  if (!isBodySent(request.headers)) return []
  // Left early it stays open: who is refused must still be able to read the answer.
  return (request.raw as Readable).iterator({ destroyOnReturn: false })
}

import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import type { Problem } from '@hivesync/contracts/values.ts'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { DatabaseError } from '../db/database-error.ts'
import { isOutage } from '../db/outage.ts'
import { AppError, type RefusalOptions, toProblem } from '../errors.ts'
import type { Logger } from '../logger.ts'

/** What Fastify itself refuses, in our terms. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
}

declare module 'fastify' {
  interface FastifyReply {
    /** What was refused and why, for the log. */
    refusal: { code: ErrorCode; details: Readonly<Record<string, unknown>> } | null
  }
}

/** Turns anything thrown into a problem: refusals as they are, everything else a textless 500 whose cause goes to the log. */
export function answerError(log: Logger, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (error instanceof AppError) return sendProblem(reply, request.id, error.code, error.options, error.details)
  const fault = error instanceof Error ? error : new Error('something that is no error was thrown', { cause: error })
  const { code, validation, validationContext } = fault as Partial<FastifyError>
  if (validation !== undefined) {
    const context = validationContext === 'querystring' ? 'query' : (validationContext ?? 'body')
    return sendProblem(reply, request.id, 'invalid_request', { fields: fieldsOf(context, validation) })
  }
  const known = frameworkCodes[code ?? '']
  if (known !== undefined) return sendProblem(reply, request.id, known)
  // The client hung up in the middle of its body: nobody reads the answer, and it is no fault of ours.
  if (request.raw.destroyed && !request.raw.complete) return sendProblem(reply, request.id, 'invalid_request')
  // No text field of ours holds a NUL; the database layer is the one place that sees them all.
  if (fault instanceof DatabaseError && /^parameter_refused: .*NUL character$/.test(fault.message))
    return sendProblem(reply, request.id, 'invalid_request', { detail: 'A text holds a NUL character' })
  log.error({ event: 'request_failed', requestId: request.id, route: request.routeOptions.url ?? null }, fault)
  // The request may be as good as any: it is the client's to send again.
  if (isOutage(fault))
    return sendProblem(reply, request.id, 'temporarily_unavailable', { headers: { 'retry-after': '5' } })
  sendProblem(reply, request.id, 'internal')
}

function fieldsOf(context: string, faults: NonNullable<FastifyError['validation']>): Problem['fields'] {
  return faults.slice(0, 20).map(({ instancePath, params, message }) => {
    const name = params.missingProperty ?? params.additionalProperty
    const path = `${context}${instancePath}${typeof name === 'string' ? `/${name}` : ''}`
    return { path: path.slice(0, 200), message: message ?? 'invalid' }
  })
}

export function sendProblem(
  reply: FastifyReply,
  requestId: string,
  code: ErrorCode,
  options: RefusalOptions = {},
  details: Readonly<Record<string, unknown>> = {},
): void {
  if (reply.sent) return
  reply.refusal = { code, details }
  if (errorCatalog[code][0] === 401 && !reply.hasHeader('www-authenticate')) {
    reply.header(
      'www-authenticate',
      code === 'authentication_required' ? 'Bearer realm="hivesync"' : `Bearer realm="hivesync", error="invalid_token"`,
    )
  }
  reply.headers(options.headers ?? {})
  reply
    .code(errorCatalog[code][0])
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(toProblem(code, requestId, options))
}

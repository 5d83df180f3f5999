import type { ErrorCode } from '@hivesync/contracts/errors.ts'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, type RefusalOptions, toProblem } from '../errors.ts'
import type { Logger } from '../logger.ts'

/** What Fastify itself refuses, in our terms. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_ASYNC_CONSTRAINT: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
}

/** Turns anything thrown into a problem: refusals as they are, everything else a textless 500 whose cause goes to the log. */
export function answerError(
  log: Logger,
  error: FastifyError | AppError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  if (error instanceof AppError) return sendProblem(reply, request.id, error.code, error.options)
  if ('validation' in error && error.validation !== undefined) {
    const context = error.validationContext ?? 'body'
    const fields = error.validation.slice(0, 20).map((fault) => ({
      path: `${context}${fault.instancePath}${missing(fault.params)}`,
      message: fault.message ?? 'invalid',
    }))
    return sendProblem(reply, request.id, 'invalid_request', { fields })
  }
  const known = 'code' in error && typeof error.code === 'string' ? frameworkCodes[error.code] : undefined
  if (known !== undefined) return sendProblem(reply, request.id, known)
  log.error({ event: 'request_failed', requestId: request.id, route: request.routeOptions.url ?? null }, error)
  sendProblem(reply, request.id, 'internal')
}

function missing(params: Record<string, unknown>): string {
  const name = params.missingProperty ?? params.additionalProperty
  return typeof name === 'string' ? `/${name.slice(0, 100)}` : ''
}

export function sendProblem(
  reply: FastifyReply,
  requestId: string,
  code: ErrorCode,
  options: RefusalOptions = {},
): void {
  if (reply.sent) return
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

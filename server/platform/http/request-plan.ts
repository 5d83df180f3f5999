import type { FastifyRequest } from 'fastify'
import type { RequestPlan } from '../actor.ts'
import { AppError } from '../errors.ts'

/** What every request may have; a plan may give less, or more where an operation's contract allows it. */
export const usualBodyBytes = 64 * 1024

/** The largest body of this request: what the operation takes, but no more than the plan of who asks allows beyond the usual. Workers have no plan. */
export function maxBodyBytesOf(request: FastifyRequest): number {
  const most = request.routeOptions.config.endpoint?.maxBodyBytes ?? usualBodyBytes
  const { plan } = request.actor
  return plan === undefined ? most : Math.min(most, plan.bodyBytes)
}

/** Refuses headers that are longer, all together, than the plan allows; the socket's own limit holds for everybody. */
export function requireHeaderSize(request: FastifyRequest): void {
  const { plan } = request.actor
  if (plan === undefined) return
  let bytes = 0
  for (const part of request.raw.rawHeaders) bytes += part.length
  if (bytes > plan.headerBytes)
    throw new AppError('headers_too_large', {}, { detail: `Your plan allows ${plan.headerBytes} bytes` })
}

/** Lists show 50 items unless asked, some 100. */
const usualPageItems = { least: 50, most: 100 }

/** Refuses a body that says it is larger than it may be, before anything of it is read, and a longer page of a list than the plan allows; one of no length becomes as short as that. */
export function requireRequestSize(request: FastifyRequest): void {
  const { plan } = request.actor
  if (plan === undefined) return
  const { endpoint } = request.routeOptions.config
  if (endpoint?.consumes === undefined && Number(request.headers['content-length'] ?? 0) > maxBodyBytesOf(request))
    throw new AppError('payload_too_large', {}, { headers: { connection: 'close' } })
  const query = request.query as { limit?: unknown }
  const { limit } = query
  if (limit === undefined && endpoint?.query?.properties.limit !== undefined && plan.pageItems < usualPageItems.most)
    query.limit = String(Math.min(usualPageItems.least, plan.pageItems))
  // What is no number, or there twice, the schema refuses.
  if (typeof limit !== 'string' || !(Number(limit) > plan.pageItems)) return
  const fields = [{ path: 'query/limit', message: `must be at most ${plan.pageItems} in your plan` }]
  throw new AppError('invalid_request', {}, { fields })
}

/** Refuses a body with a longer text or list than the plan allows; a key counts as a text. */
export function requireShape(value: unknown, plan: RequestPlan): void {
  const open: unknown[] = [value]
  while (open.length > 0) {
    const part = open.pop()
    if (typeof part === 'string') requireText(part, plan)
    else if (Array.isArray(part)) {
      if (part.length > plan.arrayItems) throw beyondPlan(`A list has more than ${plan.arrayItems} items`)
      for (const item of part) open.push(item)
    } else if (typeof part === 'object' && part !== null) {
      for (const [key, member] of Object.entries(part)) {
        requireText(key, plan)
        open.push(member)
      }
    }
  }
}

function requireText(text: string, { stringLength }: RequestPlan): void {
  if (text.length > stringLength) throw beyondPlan(`A text is longer than ${stringLength} characters`)
}

function beyondPlan(what: string): AppError {
  return new AppError('payload_too_large', {}, { detail: `${what}, which is the most that your plan allows` })
}

import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { type ErrorCode, errorCatalog } from '@hivesync/contracts/errors.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type CounterSpec, type Family, Histogram, type Metrics, otherValue } from '../metrics.ts'

const classes = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const
/** Seen from the start: alerts ask for their rates. */
const expectedClasses: ReadonlySet<string> = new Set(['2xx', '4xx', '5xx'])
/** Seconds. A quiet read takes under 5 ms, a login 100 ms; beyond 2.5 s are long polls, live streams and uploads. */
const bounds = [0.005, 0.025, 0.1, 0.5, 2.5, 10]

const refusals: CounterSpec<'code'> = {
  name: 'hivesync_refusals_total',
  help: 'Requests that were refused, by error code',
  labels: { code: Object.keys(errorCatalog) },
}

interface Slot {
  readonly operation: string
  readonly method: string
  readonly counts: number[]
  readonly seconds: Histogram
}

/** Every policy that `rateLimits` can name. */
const policies = new Set(
  [...operations.values()].flatMap(({ name, limit, perMinute }) => {
    const policy = perMinute === undefined ? limit : name
    return [policy, `${policy}-network`]
  }),
)
const limitRefusals: CounterSpec<'policy'> = {
  name: 'hivesync_limit_refusals_total',
  help: 'Requests that were refused because a limit was used up, by the policy that says so',
  labels: { policy: [...policies, 'key-hour'] },
}

export interface RequestMetrics {
  note(request: FastifyRequest, reply: FastifyReply): void
  /** What never became a request has no operation. */
  noteBroken(status: number, code: ErrorCode): void
}

/**
 * Counts requests by the operations of the contracts. An address that no operation has is `unknown`, whatever it says: no path, id or header ever makes a series.
 * A lookup and two additions per request.
 */
export function createRequestMetrics(metrics: Metrics): RequestMetrics {
  const unknown = slotOf('unknown', otherValue)
  const slots = new Map<Endpoint, Slot>(
    [...operations.values()].map((endpoint) => [endpoint, slotOf(endpoint.name, endpoint.method)]),
  )
  metrics.declare(refusals)
  metrics.declare(limitRefusals)
  metrics.include(() => familiesOf([...slots.values(), unknown]))
  return {
    note(request, reply) {
      const { endpoint } = request.routeOptions.config
      const slot = (endpoint && slots.get(endpoint)) ?? unknown
      add(slot, reply.statusCode)
      slot.seconds.observe(reply.elapsedTime / 1000)
      const { refusal } = reply
      if (refusal === null) return
      metrics.count(refusals, { code: refusal.code })
      const { policy } = refusal.details
      if (typeof policy === 'string') metrics.count(limitRefusals, { policy })
    },
    noteBroken(status, code) {
      add(unknown, status)
      metrics.count(refusals, { code })
    },
  }
}

function add({ counts }: Slot, status: number): void {
  const group = Math.floor(status / 100) - 1
  counts[group] = (counts[group] ?? 0) + 1
}

function slotOf(operation: string, method: string): Slot {
  return { operation, method, counts: classes.map(() => 0), seconds: new Histogram(bounds) }
}

function familiesOf(slots: readonly Slot[]): Family[] {
  return [
    {
      name: 'hivesync_requests_total',
      help: 'Requests answered, by operation and class of status',
      type: 'counter',
      samples: slots.flatMap(({ operation, method, counts }) =>
        classes.flatMap((status, index) => {
          const value = counts[index] ?? 0
          return value > 0 || expectedClasses.has(status) ? [{ labels: { operation, method, status }, value }] : []
        }),
      ),
    },
    {
      name: 'hivesync_request_seconds',
      help: 'How long requests took until their last byte, by operation',
      type: 'histogram',
      samples: slots
        .filter(({ seconds }) => !seconds.isEmpty)
        .flatMap(({ operation, seconds }) => seconds.samples({ operation })),
    },
  ]
}

import type { Endpoint, LimitCategory } from '@hivesync/contracts/endpoint.ts'
import type { Identity } from '../actor.ts'
import type { WindowState } from '../limits/sliding-window.ts'
import type { WindowRule, Windows } from '../limits/windows.ts'
import { limitKeyOf, limitNetworkOf } from './client-address.ts'

/** Requests per minute (requirement I1); an enrolled worker is not limited, so its figure counts only requests that prove no worker. */
const perMinute = { auth: 10, session: 30, write: 30, read: 100, admin: 200, worker: 100 } as const satisfies Partial<
  Record<LimitCategory, number>
>
const minuteMs = 60_000
const hourMs = 60 * minuteMs
/** A /48 is what one customer of a provider commonly holds (RFC 6177): 65,536 networks of /64, which together get so many times the limit of one. */
const networkFactor = 8

/** One policy that applied to a request, and how it stands. */
export interface AppliedLimit extends WindowState {
  readonly name: string
  readonly windowMs: number
}

/** What became of a request: refused when any of its windows was full. */
export interface LimitVerdict {
  readonly allowed: boolean
  /** Of several refusals, or admissions with as little left, the one that lasts longest: who waits as told gets through. */
  readonly tightest: AppliedLimit
  readonly limits: readonly AppliedLimit[]
}

/** What of an operation says how it is limited. */
export type Limited = Pick<Endpoint, 'limit' | 'perMinute' | 'name'>

export interface RateLimits {
  /**
   * Counts a request. A session counts for its person, and by itself where sessions are ended or somebody is proved: whoever stole one keeps the
   * owner from neither. Whoever proves nothing counts for the address. An API key counts in two windows: the
   * minute of its owner, which all the owner's keys share (many keys are no higher limit) and no session does (a script cannot lock its
   * person out), and its own hour. A refused request counts in no window. Undefined where the operation is not limited.
   */
  hit(endpoint: Limited, identity: Identity, address: string): LimitVerdict | undefined | Promise<LimitVerdict>
}

/** The limits of every request, as many times the figures above as `rateScale` (load tests) and the plan of who asks say. */
export function createRateLimits(rateScale: number, windows: Windows): RateLimits {
  return {
    hit(endpoint, identity, address) {
      if (endpoint.limit === 'none' || (endpoint.limit === 'worker' && identity.kind === 'worker')) return undefined
      const rules = rulesOf(endpoint, endpoint.limit, identity, address, rateScale)
      const states = windows.hit(rules)
      return states instanceof Promise ? states.then((found) => verdictOf(rules, found)) : verdictOf(rules, states)
    },
  }
}

function rulesOf(
  { name, perMinute: own }: Limited,
  category: Exclude<LimitCategory, 'none'>,
  identity: Identity,
  address: string,
  rateScale: number,
): WindowRule[] {
  const { kind, id, userId, sessionId, hourly, plan } = identity
  const scale = rateScale * (plan?.rateMultiplier ?? 1)
  // An operation with a figure of its own is counted apart: a script that uses it up may still do everything else.
  const minute = {
    name: own === undefined ? category : name,
    limit: (own ?? perMinute[category]) * scale,
    windowMs: minuteMs,
  }
  if (kind === 'nobody') {
    const network = limitNetworkOf(address)
    const source = { ...minute, subject: `ip:${limitKeyOf(address)}` }
    if (network === undefined) return [source]
    return [
      source,
      { ...minute, name: `${minute.name}-network`, limit: minute.limit * networkFactor, subject: `ip:${network}` },
    ]
  }
  if (kind === 'user' && (category === 'auth' || category === 'session'))
    return [{ ...minute, subject: `session:${sessionId}` }]
  // The operator's key has no owner: it is alone in its window.
  const subject = kind === 'key' && userId !== null ? `keys-of:${userId}` : `${kind}:${id}`
  if (hourly === undefined) return [{ ...minute, subject }]
  const hour = { name: 'key-hour', subject: `key:${hourly.group}`, limit: hourly.limit * rateScale, windowMs: hourMs }
  return [{ ...minute, subject }, hour]
}

function verdictOf(rules: readonly WindowRule[], states: readonly WindowState[]): LimitVerdict {
  const limits = rules.flatMap(({ name, windowMs }, i) => {
    const state = states[i]
    return state === undefined ? [] : [{ ...state, name, windowMs }]
  })
  const [first, ...others] = limits
  if (first === undefined) throw new Error('a request was counted in no window')
  return { allowed: limits.every(({ allowed }) => allowed), tightest: others.reduce(tighter, first), limits }
}

function tighter(a: AppliedLimit, b: AppliedLimit): AppliedLimit {
  if (a.allowed !== b.allowed) return a.allowed ? b : a
  if (a.allowed && a.remaining !== b.remaining) return a.remaining < b.remaining ? a : b
  return a.resetMs >= b.resetMs ? a : b
}

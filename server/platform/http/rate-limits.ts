import type { LimitCategory } from '@hivesync/contracts/endpoint.ts'
import type { Identity } from '../actor.ts'
import { SlidingWindow, type WindowState } from '../limits/sliding-window.ts'
import { limitKeyOf } from './client-address.ts'

/** Requests per minute (requirement I1); an enrolled worker is not limited, so its figure counts only requests that prove no worker. */
const perMinute = { auth: 10, session: 30, write: 30, read: 100, admin: 200, worker: 100 } as const satisfies Partial<
  Record<LimitCategory, number>
>
const minuteMs = 60_000
const hourMs = 60 * minuteMs

export interface RateLimits {
  /**
   * Counts a request. A session counts for its person, and by itself where sessions are ended or somebody is proved: whoever stole one keeps the
   * owner from neither. Whoever proves nothing counts for the address. An API key counts in two windows: the
   * minute of its owner, which all the owner's keys share (many keys are no higher limit) and no session does (a script cannot lock its
   * person out), and its own hour. A refused request counts in neither; the answer is of the window that holds longer. Undefined where the operation is not limited.
   */
  hit(category: LimitCategory, identity: Identity, address: string): WindowState | undefined
  /** Gives back the memory of what has left the windows; called on a timer. */
  sweep(): void
}

/** Memory: at most 16 bytes per accepted request of the last minute, and of the last hour for keys, whose owner's minutes bound them to 20,000. */
export function createRateLimits(rateScale: number, now: () => number): RateLimits {
  const minutes = new SlidingWindow(minuteMs)
  const hours = new SlidingWindow(hourMs)
  return {
    hit(category, identity, address) {
      if (category === 'none' || (category === 'worker' && identity.kind === 'worker')) return undefined
      const at = now()
      const key = minuteKeyOf(category, identity, address)
      const minute = minutes.hit(key, perMinute[category] * rateScale, at)
      const { hourly } = identity
      if (hourly === undefined) return minute
      const hour = hours.hit(hourly.group, hourly.limit * rateScale, at)
      if (minute.allowed && !hour.allowed) minutes.takeBack(key)
      if (hour.allowed && !minute.allowed) hours.takeBack(hourly.group)
      return tighter(minute, hour)
    },
    sweep() {
      minutes.sweep(now())
      hours.sweep(now())
    },
  }
}

function minuteKeyOf(category: LimitCategory, { kind, id, userId, sessionId }: Identity, address: string): string {
  if (kind === 'user' && (category === 'auth' || category === 'session')) return `${category}:session:${sessionId}`
  if (kind === 'nobody') return `${category}:ip:${limitKeyOf(address)}`
  // The operator's key has no owner: it is alone in its window.
  if (kind === 'key' && userId !== null) return `${category}:keys-of:${userId}`
  return `${category}:${kind}:${id}`
}

/** Of two refusals, or two admissions with as little left, the one that lasts longer: who waits as told gets through. */
function tighter(a: WindowState, b: WindowState): WindowState {
  if (a.allowed !== b.allowed) return a.allowed ? b : a
  if (a.allowed && a.remaining !== b.remaining) return a.remaining < b.remaining ? a : b
  return a.resetMs >= b.resetMs ? a : b
}

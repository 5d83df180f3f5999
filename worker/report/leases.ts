import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'

/**
 * Why a job must stop: its owner canceled it; the server gave it to somebody else; the server has been silent for so long
 * that it may have (self-fence); or this worker is stopping and gives it back.
 */
export type StopReason = 'canceled' | 'lost' | 'fenced' | 'returned'

/** This worker's hold on one job. */
export interface Lease {
  readonly claim: Claim
  /** Aborted when the job must stop. */
  readonly signal: AbortSignal
  readonly stopReason: StopReason | undefined
  /** The server has acknowledged the lease, in answer to a request sent at this monotonic time; begins or moves the self-fence. */
  confirm(sentAtMs: number): void
  /** The first reason stops the job; `lost` replaces an earlier one, because then nothing may be reported any more. */
  stop(reason: StopReason): void
  /** The job's end is recorded elsewhere, or is to be forgotten. */
  release(): void
}

export interface Leases {
  hold(claim: Claim): Lease
  find(token: number): Lease | undefined
  /** Confirmed ones. */
  tokens(): number[]
  readonly size: number
  /** The shortest time a lease of these lives without heartbeat, in milliseconds; undefined without leases. */
  shortestTtlMs(): number | undefined
  stopAll(reason: StopReason): void
  /** Resolves at the next hold, confirmation or release, or when the signal aborts. */
  nextChange(signal?: AbortSignal): Promise<void>
}

/** A sandbox dies within a second or two of its kill; ten leave room for a slow machine, a quarter for short leases. */
export function fenceMarginMs(leaseTtlMs: number): number {
  return Math.min(10_000, leaseTtlMs / 4)
}

export function createLeases(options: { clock: Clock; log: Logger }): Leases {
  const { clock, log } = options
  const held = new Map<number, Lease & { confirmedAtMs: number | undefined }>()
  let changed = Promise.withResolvers<void>()
  const announce = () => {
    const before = changed
    changed = Promise.withResolvers()
    before.resolve()
  }

  function hold(claim: Claim): Lease {
    const { token, jobId } = claim
    if (held.has(token)) throw new Error(`lease ${token} is held already`)
    const stopping = new AbortController()
    const released = new AbortController()
    let stopReason: StopReason | undefined
    const ttlMs = claim.leaseTtlSeconds * 1000

    /** The lease may be over at the server one TTL after it last heard of us: by then nothing of the job may run here. */
    async function fence(): Promise<void> {
      while (!released.signal.aborted && stopReason === undefined) {
        const leftMs = (lease.confirmedAtMs ?? 0) + ttlMs - fenceMarginMs(ttlMs) - clock.monotonicMs()
        if (leftMs <= 0) {
          log.warn('lease_fenced', { token, jobId, reason: 'the server did not answer in time' })
          return lease.stop('fenced')
        }
        await clock.wait(leftMs, AbortSignal.any([released.signal, stopping.signal]))
      }
    }
    const lease = {
      claim,
      signal: stopping.signal,
      confirmedAtMs: undefined as number | undefined,
      get stopReason() {
        return stopReason
      },
      confirm(sentAtMs: number) {
        const isFirst = lease.confirmedAtMs === undefined
        lease.confirmedAtMs = Math.max(sentAtMs, lease.confirmedAtMs ?? sentAtMs)
        if (!isFirst) return
        void fence()
        announce()
      },
      stop(reason: StopReason) {
        if (stopReason !== undefined && reason !== 'lost') return
        stopReason = reason
        stopping.abort(new Error(`the job must stop: ${reason}`))
      },
      release() {
        released.abort()
        held.delete(token)
        announce()
      },
    }
    held.set(token, lease)
    announce()
    return lease
  }

  return {
    hold,
    find: (token) => held.get(token),
    tokens: () => [...held].flatMap(([token, lease]) => (lease.confirmedAtMs === undefined ? [] : [token])),
    get size() {
      return held.size
    },
    shortestTtlMs() {
      const ttls = [...held.values()].map((lease) => lease.claim.leaseTtlSeconds * 1000)
      return ttls.length === 0 ? undefined : Math.min(...ttls)
    },
    stopAll(reason) {
      for (const lease of held.values()) lease.stop(reason)
    },
    async nextChange(signal) {
      if (signal?.aborted) return
      const aborted = Promise.withResolvers<void>()
      const onAbort = () => aborted.resolve()
      signal?.addEventListener('abort', onAbort)
      await Promise.race([changed.promise, aborted.promise])
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

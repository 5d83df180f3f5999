import type { EgressDecision } from './egress-proxy.ts'

/** One destination that was refused, and how often. */
export interface EgressRefusal {
  host: string
  port: number
  reason: string
  count: number
}

/** contracts/worker-protocol.ts, completeLease: what a job cannot make longer, however many hosts it tries. */
const maxRefusals = 20
const maxCount = 1_000_000

export interface EgressRefusals {
  note(decision: EgressDecision): void
  /** The first ones, by destination and reason. */
  list(): EgressRefusal[]
  /** A sentence for a person who reads the log; undefined when nothing was refused. */
  text(): string | undefined
}

/** Counts what the proxy refused during one job; names only, never an address it resolved or a byte that was sent. */
export function countEgressRefusals(): EgressRefusals {
  const refusals = new Map<string, EgressRefusal>()
  let others = 0
  return {
    note({ host, port, reason, allowed }) {
      if (allowed) return
      const key = `${host} ${port} ${reason}`
      const known = refusals.get(key)
      if (known !== undefined) known.count = Math.min(known.count + 1, maxCount)
      else if (refusals.size < maxRefusals) refusals.set(key, { host, port, reason, count: 1 })
      else others += 1
    },
    list: () => [...refusals.values()],
    text() {
      if (refusals.size === 0) return undefined
      const parts = [...refusals.values()].map(({ host, port, reason, count }) => {
        const where = host === '' ? 'a request' : `${host}:${port}`
        return `${where} (${reason}${count > 1 ? `, ${count} times` : ''})`
      })
      return `refused by the network filter: ${parts.join(', ')}${others > 0 ? ` and ${others} more` : ''}`
    },
  }
}

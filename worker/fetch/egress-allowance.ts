import { addressScope } from './address-guard.ts'
import { type EgressDestination, isHostLike } from './egress-decision.ts'
import { readHostAndPort } from './repository-policy.ts'

/** What the worker's operator says about hosts; it narrows what a project asks for, whatever the server claims. */
export interface OperatorHosts {
  /** `host` or `host:port`; empty means any public host on port 443. */
  allowHosts: readonly string[]
  /** `host:port` whose address may be private. */
  privateHosts: readonly string[]
}

const maxHosts = 100
const namePattern = /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The destinations that both the project and the operator allow. Port 443, or another where the operator names the host with it. Throws
 * RangeError for a list that no server of ours sends: an address, a bare `*`, too many.
 */
export function allowedDestinations(hosts: readonly string[], operator: OperatorHosts): EgressDestination[] {
  if (hosts.length > maxHosts) throw new RangeError('too many hosts')
  const named = [...operator.allowHosts, ...operator.privateHosts].map(readHostAndPort)
  return hosts.flatMap((pattern) => {
    const isName = pattern.length <= 253 && namePattern.test(pattern) && addressScope(pattern) === 'invalid'
    if (!isName || (pattern.startsWith('*.') && pattern.split('.').length < 3)) throw new RangeError('not a host')
    const byName = named.filter(({ host }) => isHostLike(host, pattern))
    return operator.allowHosts.length === 0 ? [{ host: pattern, port: 443 }, ...byName] : byName
  })
}

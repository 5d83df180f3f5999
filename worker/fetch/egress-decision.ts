import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { addressScope, findCanonicalAddress } from './address-guard.ts'
import { hostAndPort } from './repository-policy.ts'

/** A host the sandbox may reach; port 443 unless named. Host as a URL parser writes it: lower case, IPv6 without brackets; or `*.` and a name, for all below it. */
export interface EgressDestination {
  host: string
  port?: number
}

export interface EgressPolicy {
  allow: readonly EgressDestination[]
  /** Exact `host:port` entries for which a private address is accepted: lifts the address check and nothing else. */
  privateHosts: readonly string[]
  /** Every address of a name; the system resolver when absent. */
  resolve?: (host: string) => Promise<readonly string[]>
}

export type EgressVerdict =
  | { allowed: true; host: string; port: number; addresses: readonly string[] }
  | { allowed: false; host: string; port: number; address: string | null; reason: string }

/**
 * Decides one CONNECT target. A name is resolved exactly once and refused when ANY of its addresses is not public
 * (multi-answer DNS); the caller connects to the returned addresses and never resolves again (DNS rebinding).
 */
export async function decideEgress(authority: string, policy: EgressPolicy): Promise<EgressVerdict> {
  const { host, port } = destinationOf(authority)
  if (port === 0) return { allowed: false, host, port, address: null, reason: 'malformed' }
  const refuse = (reason: string, address: string | null = null): EgressVerdict => {
    return { allowed: false, host, port, address, reason }
  }
  if (!policy.allow.some((entry) => isHostLike(host, entry.host) && (entry.port ?? 443) === port))
    return refuse('not_listed')
  const isLiteral = addressScope(host) !== 'invalid'
  let addresses: readonly string[]
  try {
    addresses = isLiteral ? [host] : await (policy.resolve ?? resolveName)(host)
  } catch {
    return refuse('name_not_resolved')
  }
  if (addresses.length === 0) return refuse('name_not_resolved')
  if (policy.privateHosts.includes(hostAndPort(host, port))) return { allowed: true, host, port, addresses }
  const own = ownAddresses()
  for (const address of addresses) {
    const scope = addressScope(address)
    if (scope !== 'public') return refuse(`address_${scope}`, address)
    // This machine's own public address leads behind its firewall, to services meant for loopback or the local network.
    if (own.has(findCanonicalAddress(address))) return refuse('address_own', address)
  }
  return { allowed: true, host, port, addresses }
}

/**
 * Reads `host:port` the way a URL parser does, so that every notation of an address is judged as the address it means; port 0 and no host
 * where it cannot be read.
 */
export function destinationOf(authority: string): { host: string; port: number } {
  const nowhere = { host: '', port: 0 }
  if (!/^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}$/.test(authority)) return nowhere
  const url = URL.parse(`http://${authority}/`)
  const port = Number(authority.slice(authority.lastIndexOf(':') + 1))
  if (!url || port < 1 || port > 65535) return nowhere
  return { host: url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, ''), port }
}

/** Whether a name is the one that is allowed, or below it where that begins with `*.`. */
export function isHostLike(host: string, pattern: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) && host.length >= pattern.length : host === pattern
}

async function resolveName(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map((entry) => entry.address)
}

function ownAddresses(): Set<string | undefined> {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return new Set(interfaces.map((entry) => findCanonicalAddress(entry.address)))
}

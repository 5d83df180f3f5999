import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { EgressRule, EgressSettings } from '../config-egress.ts'
import { NetFailure } from './net-failure.ts'

/** A place that a request may go to: the name is for TLS and the Host header, the connection goes to one of the addresses and nowhere else. */
export interface Destination {
  readonly url: URL
  readonly hostname: string
  readonly port: number
  /** In the order they are to be tried; never empty. */
  readonly addresses: readonly string[]
}

const maxUrlLength = 2048
/** Where anybody's endpoints are found; others are for the operator to open. */
const publicPorts = [443, 8443]
const dnsTimeoutMs = 2000
const dnsTries = 2

/**
 * Whether an address is one of the public internet, by the special-purpose registries of IANA (RFC 6890) as ipaddr.js has them. Addresses that carry an IPv4 address
 * for a translator (NAT64, 6to4, Teredo) are not: where they lead is for others to decide.
 */
export function isPublicAddress(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address.range() === 'unicast' && !alsoReserved.some(([kind, range]) => isIn(address, kind, range))
}

// What ipaddr.js 2.5 calls unicast and is none: Azure's host agent, local NAT64 (RFC 8215), deprecated site-local and SIIT forms, documentation (RFC 9637), SRv6
// (RFC 9602), and IPv6 outside of 2000::/3, which nobody has been given.
const alsoReserved = [
  '168.63.129.16/32',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.175.48.0/24',
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23',
  '2002::/16',
  '3fff::/20',
].map((cidr) => [cidr.includes(':') ? 'ipv6' : 'ipv4', ipaddr.parseCIDR(cidr)] as const)

function isIn(address: ipaddr.IPv4 | ipaddr.IPv6, kind: string, range: readonly [ipaddr.IPv4 | ipaddr.IPv6, number]) {
  if (address.kind() !== kind) return false
  return address.match(range[0] as ipaddr.IPv4 & ipaddr.IPv6, range[1])
}

/** Decides where requests may go; `find` asks the name servers anew at each call, so its answer is for one connection. */
export interface Destinations {
  /** Refuses, with a `NetFailure` that is never worth a retry, what is no place of the public internet and not opened by the operator. */
  find(url: URL): Promise<Destination>
  /** The same for an address that a socket has reached. */
  requireAddress(url: URL, address: string | undefined): void
}

export function createDestinations({ rules, dnsServers }: EgressSettings): Destinations {
  const resolver = new Resolver({ timeout: dnsTimeoutMs, tries: dnsTries })
  if (dnsServers.length > 0) resolver.setServers([...dnsServers])

  // Scheme, port and address are judged together: what the operator opens is a place, not a port for all or a range for plain HTTP to everybody.
  function requireAddress(url: URL, text: string | undefined): void {
    const host = hostOf(url)
    const port = portOf(url)
    const address = text === undefined || isIP(text) === 0 || text.includes('%') ? undefined : ipaddr.process(text)
    if (address === undefined) throw refused('the address cannot be read')
    if (rules.some((rule) => isOpened(rule, host, port, address))) return
    if (!isPublicAddress(address)) throw refused('the address is not one of the public internet')
    if (url.protocol !== 'https:') throw refused('only https is allowed')
    if (!publicPorts.includes(port)) throw refused(`only the ports ${publicPorts.join(' and ')} are allowed`)
  }

  return {
    async find(url) {
      requireForm(url)
      const hostname = hostOf(url)
      const addresses = isIP(hostname) === 0 ? await resolve(resolver, hostname) : [hostname]
      // Any of them: which one a later connection takes is not for the name's owner to choose.
      for (const address of addresses) requireAddress(url, address)
      return { url, hostname, port: portOf(url), addresses }
    },
    requireAddress,
  }
}

// After the WHATWG parser, which writes 0x7f.1, 2130706433, 127.1 and full-width digits as 127.0.0.1; never on the text itself.
function requireForm(url: URL): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused('only https is allowed')
  if (url.username !== '' || url.password !== '') throw refused('an address with a user or password is not allowed')
  if (url.href.length > maxUrlLength) throw refused(`an address has at most ${maxUrlLength} characters`)
  if (hostOf(url) === '') throw refused('the address has no host')
}

function refused(message: string): NetFailure {
  return new NetFailure('address_refused', message)
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$|\.$/g, '').toLowerCase()
}

function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

function isOpened(rule: EgressRule, host: string, port: number, address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (rule.port !== null && rule.port !== port) return false
  if (rule.range !== null) return isIn(address, rule.range[0].kind(), rule.range)
  if (rule.host?.startsWith('*.')) return host.endsWith(rule.host.slice(1))
  return rule.host === host
}

/** Both families; one that has none is no fault, and what does not answer is not known to be public, so it is not used. */
async function resolve(resolver: Resolver, hostname: string): Promise<string[]> {
  const [four, six] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
  const addresses = [four, six].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (addresses.length > 0) return addresses
  const reason: unknown = four.status === 'rejected' ? four.reason : undefined
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : 'no answer'
  throw new NetFailure('dns_failed', `the name has no address (${code})`)
}

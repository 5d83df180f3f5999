import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { Reader } from './config-reader.ts'

/** What the operator opens to outgoing requests beside the public internet: a name (`*.` stands for all below it) or a range of addresses, at one port or all. */
export interface EgressRule {
  readonly host: string | null
  readonly range: readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number] | null
  readonly port: number | null
}

export interface EgressSettings {
  readonly rules: readonly EgressRule[]
  /** The rules as they were written, to be shown at start. */
  readonly listed: readonly string[]
  /** Asked instead of the system's own name servers; empty for those. */
  readonly dnsServers: readonly string[]
}

const label = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const hostPattern = new RegExp(`^(\\*\\.)?(${label}\\.)*${label}$`)

/** `HIVESYNC_EGRESS_ALLOW` and `HIVESYNC_DNS_SERVERS`. */
export function readEgress(read: Reader, problems: string[]): EgressSettings {
  const listed = read.list('HIVESYNC_EGRESS_ALLOW')
  const rules = listed.flatMap((entry) => {
    const rule = parseRule(entry.toLowerCase())
    if (rule === undefined)
      problems.push(
        'HIVESYNC_EGRESS_ALLOW must list hosts, addresses or CIDR ranges, each with a port or without, such as hooks.example.net:8080,10.1.0.0/16,[fd00::/8]:8443',
      )
    return rule ?? []
  })
  const dnsServers = read.list('HIVESYNC_DNS_SERVERS')
  if (!dnsServers.every(isServer))
    problems.push('HIVESYNC_DNS_SERVERS must list addresses, each with a port or without, such as 10.0.0.53,[::1]:5353')
  return Object.freeze({ rules, listed, dnsServers })
}

/** A way out to this one place and no other, wherever it is: for what the operator has named. */
export function egressTo(url: URL, dnsServers: readonly string[]): EgressSettings {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  const rule = parseRule(`${url.hostname}:${port}`)
  return { rules: rule === undefined ? [] : [rule], listed: [], dnsServers }
}

function parseRule(entry: string): EgressRule | undefined {
  const [place, portText] = splitPort(entry)
  const port = portText === undefined ? null : Number(portText)
  if (port !== null && !(port >= 1 && port <= 65_535)) return undefined
  const [address = '', bits, ...more] = place.split('/')
  const version = isIP(address)
  if (version !== 0) {
    if (more.length > 0) return undefined
    const cidr = `${address}/${bits ?? (version === 4 ? 32 : 128)}`
    return ipaddr.isValidCIDR(cidr) ? { host: null, range: ipaddr.parseCIDR(cidr), port } : undefined
  }
  // A text of digits and dots is an address that somebody mistyped.
  if (!hostPattern.test(place) || /^[\d.]+$/.test(place) || place.length > 253) return undefined
  return { host: place, range: null, port }
}

function splitPort(entry: string): readonly [place: string, port: string | undefined] {
  const [, inBrackets, itsPort] = /^\[([0-9a-f.]*:[0-9a-f:.]*(?:\/\d{1,3})?)\](?::(\d{1,5}))?$/.exec(entry) ?? []
  if (inBrackets !== undefined) return [inBrackets, itsPort]
  const [, place, port] = /^([^:]+):(\d{1,5})$/.exec(entry) ?? []
  return place === undefined ? [entry, undefined] : [place, port]
}

function isServer(text: string): boolean {
  const [address, port] = splitPort(text)
  return isIP(address) !== 0 && (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535))
}

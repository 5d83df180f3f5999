import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'

/** What a rate limit counts by: an IPv4 address, or the /64 of an IPv6 address (one subscriber holds a whole /64). */
export function limitKeyOf(address: string): string {
  return networkOf(address, 32)
}

/** The /48 around an IPv6 address; undefined for IPv4, whose addresses are too scarce to come in thousands. */
export function limitNetworkOf(address: string): string | undefined {
  if (isIPv4(address) || !ipaddr.isValid(address)) return undefined
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return undefined
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/48`).toString()}/48`
}

/** The part of an address that may be stored and shown (requirement K4): IPv4 /24, IPv6 /64. */
export function partialAddress(address: string): string {
  return networkOf(address, 24)
}

function networkOf(address: string, bitsOf4: 24 | 32): string {
  if (isIPv4(address)) return bitsOf4 === 32 ? address : `${address.slice(0, address.lastIndexOf('.'))}.0/24`
  if (!ipaddr.isValid(address)) return 'unknown'
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return networkOf(parsed.toString(), bitsOf4)
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/64`).toString()}/64`
}

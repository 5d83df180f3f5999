/** Why an address may not be reached; 'public' is the only answer that lets a connection through. */
export type AddressScope =
  | 'public'
  | 'invalid'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'link-local'
  | 'carrier-nat'
  | 'documentation'
  | 'reserved'
  | 'multicast'
  | 'cloud-metadata'
  | 'embedded-ipv4'

type Range = readonly [cidr: string, scope: AddressScope]

// IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), most specific first.
const ipv4Ranges: readonly Range[] = [
  ['169.254.169.254/32', 'cloud-metadata'],
  ['168.63.129.16/32', 'cloud-metadata'], // Azure's host agent: a public address that only means the machine itself
  ['0.0.0.0/8', 'unspecified'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'carrier-nat'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'documentation'],
  ['192.31.196.0/24', 'reserved'],
  ['192.52.193.0/24', 'reserved'],
  ['192.88.99.0/24', 'reserved'],
  ['192.168.0.0/16', 'private'],
  ['192.175.48.0/24', 'reserved'],
  ['198.18.0.0/15', 'reserved'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
]

// IANA IPv6 Special-Purpose Address Registry. Whatever is outside 2000::/3 is refused even when no row names it.
const ipv6Ranges: readonly Range[] = [
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['::/96', 'embedded-ipv4'], // IPv4-compatible
  ['::ffff:0:0/96', 'embedded-ipv4'], // IPv4-mapped
  ['::ffff:0:0:0/96', 'embedded-ipv4'], // IPv4-translated (SIIT)
  ['64:ff9b::/96', 'embedded-ipv4'], // NAT64, RFC 6052
  ['64:ff9b:1::/48', 'embedded-ipv4'], // local NAT64, RFC 8215
  ['2001::/32', 'embedded-ipv4'], // Teredo
  ['2002::/16', 'embedded-ipv4'], // 6to4
  ['2001:db8::/32', 'documentation'],
  ['3fff::/20', 'documentation'],
  ['2001::/23', 'reserved'], // IETF protocol assignments
  ['fd00:ec2::254/128', 'cloud-metadata'],
  ['fc00::/7', 'private'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'private'], // deprecated site-local
  ['ff00::/8', 'multicast'],
]

const globalUnicast = parseRange('2000::/3')
const ipv4Table = ipv4Ranges.map(([cidr, scope]) => ({ ...parseRange(cidr), scope }))
const ipv6Table = ipv6Ranges.map(([cidr, scope]) => ({ ...parseRange(cidr), scope }))

/**
 * The scope of an IP address in any notation a URL parser takes (decimal, octal, hex, short, mapped); stops SSRF to the
 * machine, its network and its cloud's metadata. A text that is no address, or carries a zone id, is 'invalid'.
 */
export function addressScope(address: string): AddressScope {
  const bits = addressBits(address)
  if (!bits) return 'invalid'
  const row = (bits.width === 32 ? ipv4Table : ipv6Table).find((range) => contains(range, bits.value))
  if (row) return row.scope
  return bits.width === 32 || contains(globalUnicast, bits.value) ? 'public' : 'reserved'
}

/** One spelling per address, for comparing two of them; undefined for a text that is no address. */
export function findCanonicalAddress(address: string): string | undefined {
  const bits = addressBits(address)
  return bits && `${bits.width}:${bits.value.toString(16)}`
}

function addressBits(address: string): { width: 32 | 128; value: bigint } | undefined {
  if (!/^[0-9a-fA-FxX.:]{1,64}$/.test(address)) return undefined
  const isIpv6 = address.includes(':')
  const url = URL.parse(isIpv6 ? `http://[${address}]/` : `http://${address}/`) // WHATWG: 0x7f.1 and 127.1 are 127.0.0.1
  if (!url) return undefined
  if (isIpv6) return { width: 128, value: ipv6Value(url.hostname.slice(1, -1)) }
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(url.hostname)) return undefined
  return { width: 32, value: ipv4Value(url.hostname) }
}

function ipv4Value(dotted: string): bigint {
  return dotted.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

function ipv6Value(canonical: string): bigint {
  const [head = '', tail] = canonical.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...zeros, ...after].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}

function parseRange(cidr: string): { base: bigint; shift: bigint } {
  const slash = cidr.indexOf('/')
  const bits = addressBits(cidr.slice(0, slash))
  if (!bits) throw new TypeError(`not an address range: ${cidr}`)
  const shift = BigInt(bits.width - Number(cidr.slice(slash + 1)))
  return { base: bits.value >> shift, shift }
}

function contains(range: { base: bigint; shift: bigint }, value: bigint): boolean {
  return value >> range.shift === range.base
}

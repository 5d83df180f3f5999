// For tests only: a real DNS server on loopback whose answers may change from one question to the next (RFC 1035, and AAAA of RFC 3596).
import { createSocket } from 'node:dgram'

export interface DnsServer {
  /** As `HIVESYNC_DNS_SERVERS` takes it. */
  readonly address: string
  /** The names that were asked for A, in order. */
  readonly asked: string[]
  close(): Promise<void>
}

/** `answer` gives the addresses of a name at each question for A, counted from 0 for each name; undefined: there is no such name. */
export async function startDnsServer(
  answer: (name: string, count: number) => readonly string[] | undefined,
): Promise<DnsServer> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  const counts = new Map<string, number>()
  socket.on('message', (query, from) => {
    const { name, end } = readName(query)
    const type = query.readUInt16BE(end)
    if (type === 1) {
      counts.set(name, (counts.get(name) ?? -1) + 1)
      asked.push(name)
    }
    const addresses = answer(name, counts.get(name) ?? 0)
    const records = (addresses ?? [])
      .filter((address) => (type === 28 ? address.includes(':') : type === 1 && !address.includes(':')))
      .map((address) => record(type, address))
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(addresses === undefined ? 0x8183 : 0x8180, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([header, query.subarray(12, end + 4), ...records]), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    close: () => new Promise((resolve) => void socket.close(resolve)),
  }
}

function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += length + 1
  }
  // Resolvers write upper and lower case at random (0x20), and want it back as it was.
  return { name: labels.join('.').toLowerCase(), end: at + 1 }
}

/** An answer to the question, which begins at byte 12, valid for no time at all. */
function record(type: number, address: string): Buffer {
  const data = type === 1 ? Buffer.from(address.split('.').map(Number)) : ipv6Bytes(address)
  const head = Buffer.from([0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length])
  return Buffer.concat([head, data])
}

function ipv6Bytes(address: string): Buffer {
  const [before = '', after = ''] = address.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const [head, tail] = [groups(before), groups(after)]
  const all = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

/** What the first message of a TLS client says about where it wants to go, as far as a proxy may see it. */
export type ClientHello =
  | { kind: 'more' }
  | { kind: 'not_tls' }
  | { kind: 'malformed' }
  /** `serverName` null: it names none. `encrypted`: it carries another name that only the server can read (ECH). */
  | { kind: 'hello'; serverName: string | null; encrypted: boolean }

const handshakeRecord = 22
const clientHello = 1
const serverNameExtension = 0
const encryptedHelloExtension = 0xfe0d
const maxRecordBytes = 16_384 + 256
/** With post-quantum keys a hello has two kilobytes. */
const maxHelloBytes = 16 * 1024
/** Clients send one; a thousand tiny ones would only keep us busy. */
const maxRecords = 16

class Malformed extends Error {}

/** Reads what has come so far; never throws. The bytes are anybody's: every length in them is held against what is there. */
export function readClientHello(bytes: Buffer): ClientHello {
  try {
    const message = joinRecords(bytes)
    return typeof message === 'string' ? { kind: message } : readHello(message)
  } catch (error) {
    if (error instanceof Malformed) return { kind: 'malformed' }
    throw error
  }
}

/** The handshake message, which may lie in several records. */
function joinRecords(bytes: Buffer): Buffer | 'more' | 'not_tls' {
  const parts: Buffer[] = []
  let have = 0
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== handshakeRecord || (bytes.length > at + 1 && bytes[at + 1] !== 3)) {
      if (at === 0) return 'not_tls'
      throw new Malformed()
    }
    if (bytes.length < at + 5) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > maxRecordBytes) throw new Malformed()
    const part = bytes.subarray(at + 5, at + 5 + length)
    parts.push(part)
    if (parts.length > maxRecords) throw new Malformed()
    have += part.length
    at += 5 + length
    const message = Buffer.concat(parts, have)
    if (have >= 4) {
      const wanted = 4 + message.readUIntBE(1, 3)
      if (message[0] !== clientHello || wanted > maxHelloBytes) throw new Malformed()
      if (have >= wanted) return message.subarray(4, wanted)
    }
  }
  if (bytes.length > 2 * maxHelloBytes) throw new Malformed()
  return 'more'
}

function readHello(message: Buffer): ClientHello {
  const reader = openReader(message)
  reader.take(2 + 32) // version and random
  reader.take(reader.number(1)) // session id
  reader.take(reader.number(2)) // cipher suites
  reader.take(reader.number(1)) // compression methods
  let serverName: string | null = null
  let encrypted = false
  if (reader.left() === 0) return { kind: 'hello', serverName, encrypted }
  const extensions = openReader(reader.take(reader.number(2)))
  const seen = new Set<number>()
  while (extensions.left() > 0) {
    const type = extensions.number(2)
    const body = extensions.take(extensions.number(2))
    // Two of one kind: which one the server goes by is its own business.
    if (seen.has(type)) throw new Malformed()
    seen.add(type)
    if (type === serverNameExtension) serverName = readServerName(body)
    if (type === encryptedHelloExtension) encrypted = true
  }
  return { kind: 'hello', serverName, encrypted }
}

/** RFC 6066 §3: a list that in practice has one entry, of the kind host_name. */
function readServerName(body: Buffer): string {
  const outer = openReader(body)
  const list = openReader(outer.take(outer.number(2)))
  if (list.number(1) !== 0) throw new Malformed()
  const name = list.take(list.number(2)).toString('latin1')
  if (list.left() > 0 || outer.left() > 0 || !/^[A-Za-z0-9._-]{1,255}$/.test(name)) throw new Malformed()
  return name.toLowerCase()
}

function openReader(bytes: Buffer) {
  let at = 0
  return {
    left: () => bytes.length - at,
    take(count: number): Buffer {
      if (bytes.length - at < count) throw new Malformed()
      at += count
      return bytes.subarray(at - count, at)
    },
    number(size: 1 | 2): number {
      return this.take(size).readUIntBE(0, size)
    },
  }
}

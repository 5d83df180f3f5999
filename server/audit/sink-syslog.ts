import { isoTime } from '../platform/clock.ts'
import { type Peer, sendAndClose } from '../platform/net/send-and-close.ts'
import type { ShippedItem, Sink } from './sink.ts'

const timeoutMs = 20_000
/** Facility 13, log audit; severity 6, informational (RFC 5424 §6.2.1). */
const priority = 13 * 8 + 6

/** RFC 5424 messages over TCP or TLS, octet-counted (RFC 6587 §3.4.1): a line break in one is no end of it. */
export function syslogSink(peer: Peer, hostname: string): Sink {
  return {
    name: `syslog${peer.isTls ? 's' : ''}://${peer.host}:${peer.port}`,
    deliver: (items) => {
      const frames = items.map((item) => frame(item, hostname))
      return sendAndClose(peer, Buffer.concat(frames), timeoutMs)
    },
  }
}

function frame({ kind, at, line }: ShippedItem, hostname: string): Buffer {
  const message = Buffer.from(`<${priority}>1 ${isoTime(at)} ${hostname} hivesync - audit-${kind} - ${line}`, 'utf8')
  return Buffer.concat([Buffer.from(`${message.length} `, 'latin1'), message])
}

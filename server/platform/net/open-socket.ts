import { isIP, connect as openTcp, type Socket } from 'node:net'
import { connect as openTls, type TLSSocket } from 'node:tls'
import type { Destination, Destinations } from './destination.ts'
import { NetFailure } from './net-failure.ts'

/** One address that swallows packets must not take the time of the others. */
const addressTimeoutMs = 4000
const maxAddresses = 3

/**
 * A socket to the URL's host. The name is resolved once, every answer judged, and the connection goes to one of those addresses, so that a name server that changes
 * its answer changes nothing (DNS rebinding); what the socket reached is judged again. TLS 1.2 or later, and the certificate always verified, whatever the
 * environment says.
 */
export async function openSocket(destinations: Destinations, url: URL): Promise<Socket> {
  const destination = await destinations.find(url)
  let failure: NetFailure | undefined
  for (const address of destination.addresses.slice(0, maxAddresses)) {
    try {
      const socket = await openAt(destination, address)
      try {
        destinations.requireAddress(url, socket.remoteAddress)
      } catch (error) {
        socket.destroy()
        throw error
      }
      return socket
    } catch (error) {
      failure = toFailure(error, address)
      // A certificate that does not hold is no reason to try the next address.
      if (failure.reason !== 'connect_failed') throw failure
    }
  }
  throw failure ?? new NetFailure('connect_failed', 'there is no address to connect to')
}

function openAt({ url, hostname, port }: Destination, address: string): Promise<Socket> {
  const at = { host: address, port, noDelay: true, keepAlive: true }
  const isName = isIP(hostname) === 0
  const socket: Socket | TLSSocket =
    url.protocol === 'http:'
      ? openTcp(at)
      : openTls({
          ...at,
          // No name is sent for an address (RFC 6066 §3); the certificate must then be for the address.
          ...(isName && { servername: hostname }),
          minVersion: 'TLSv1.2',
          rejectUnauthorized: true,
          ALPNProtocols: ['http/1.1'],
        })
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const timer = setTimeout(
    () => socket.destroy(new NetFailure('connect_failed', 'the address does not answer')),
    addressTimeoutMs,
  )
  socket.once(url.protocol === 'http:' ? 'connect' : 'secureConnect', () => resolve(socket))
  socket.once('error', reject)
  socket.once('close', () => reject(new NetFailure('connect_failed', 'the connection was closed at once')))
  return promise.finally(() => {
    clearTimeout(timer)
    socket.removeListener('error', reject)
  })
}

function toFailure(error: unknown, address: string): NetFailure {
  const failure = error instanceof NetFailure ? error : describe(error)
  failure.remoteAddress = address
  return failure
}

/** Codes of the system when nobody listens, or the way is closed; everything else that fails before the first byte is TLS's. */
const connectCodes =
  /^(E(CONN(REFUSED|RESET|ABORTED)|HOST(UNREACH|DOWN)|NET(UNREACH|DOWN)|TIMEDOUT|PIPE|ADDRNOTAVAIL|ACCES|INVAL|MFILE|PERM))$/

function describe(error: unknown): NetFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  return connectCodes.test(code)
    ? new NetFailure('connect_failed', `the connection failed (${code})`, { cause: error })
    : new NetFailure('tls_failed', `the connection could not be secured (${code})`, { cause: error })
}

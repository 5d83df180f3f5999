/**
 * What became of a request that got no answer. `address_refused` is final: asking again would be refused again. All others may be different next time.
 * `closed`: the server is stopping, which says nothing about the other side.
 */
export type NetReason =
  | 'address_refused'
  | 'dns_failed'
  | 'connect_failed'
  | 'tls_failed'
  | 'timeout'
  | 'connection_closed'
  | 'response_invalid'
  | 'closed'

/** The message is for whoever set the address: it names no address that a private name server answered. */
export class NetFailure extends Error {
  readonly reason: NetReason
  /** The address that was connected to, where there was one. */
  remoteAddress: string | null = null

  constructor(reason: NetReason, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'NetFailure'
    this.reason = reason
  }
}

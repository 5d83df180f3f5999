import type { FastifyRequest } from 'fastify'
import { type Config, isLoopback } from '../config.ts'
import { AppError } from '../errors.ts'

/**
 * Refuses a request of HTTP/1.1 that names no host or two (RFC 9112 §3.2): a proxy may have gone by the other one. In the local profile also one that
 * names a host which is neither this machine nor the public address: a web page whose name was led to 127.0.0.1 (DNS rebinding) would else speak to us
 * as if it were ours.
 */
export function createHostRule(config: Config): (request: FastifyRequest) => void {
  const publicHost = new URL(config.publicUrl).hostname
  return ({ raw, headers }) => {
    let hosts = 0
    for (let i = 0; i < raw.rawHeaders.length; i += 2) {
      const name = raw.rawHeaders[i]
      if (name?.length === 4 && name.toLowerCase() === 'host') hosts++
    }
    const { host } = headers
    if (hosts > 1 || (host === undefined && raw.httpVersion !== '1.0')) throw new AppError('invalid_request')
    if (config.profile !== 'local' || host === undefined) return
    const name = URL.parse(`http://${host}`)?.hostname ?? ''
    if (name === publicHost || isLoopback(name.replace(/^\[|\]$/g, '')) || name.endsWith('.localhost')) return
    const detail = 'This server is not known by that name: set HIVESYNC_PUBLIC_URL'
    throw new AppError('invalid_request', {}, { detail })
  }
}

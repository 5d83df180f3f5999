import { Transform, type TransformCallback } from 'node:stream'
import { addressScope } from './address-guard.ts'
import { readClientHello } from './client-hello.ts'

/**
 * Lets a client's bytes through once its TLS hello names the very host the tunnel was opened to: else it would reach, behind one
 * address, whatever else is served there (domain fronting). `refuse` hears why it does not; nothing was sent then.
 */
export function createTlsGate(options: {
  host: string
  /** Refuses what is no TLS too; else that passes as it is. */
  requireTls: boolean
  refuse: (reason: string) => void
}): Transform {
  let held: Buffer | undefined = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      if (held === undefined) return done(null, chunk)
      held = Buffer.concat([held, chunk])
      const verdict = judge(held, options)
      if (verdict === 'more') return done()
      if (verdict === 'pass') {
        const bytes = held
        held = undefined
        return done(null, bytes)
      }
      held = Buffer.alloc(0)
      options.refuse(verdict)
      done()
    },
  })
}

function judge(bytes: Buffer, { host, requireTls }: { host: string; requireTls: boolean }): string {
  const hello = readClientHello(bytes)
  if (hello.kind === 'more') return 'more'
  if (hello.kind === 'not_tls') return requireTls ? 'not_tls' : 'pass'
  if (hello.kind === 'malformed') return 'tls_malformed'
  if (hello.encrypted) return 'sni_encrypted'
  // RFC 6066: an address is no server name.
  const expected = addressScope(host) === 'invalid' ? host : null
  return hello.serverName === expected ? 'pass' : 'sni_mismatch'
}

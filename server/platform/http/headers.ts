import type { Config } from '../config.ts'

/** The headers of every reply (requirement M5), made once. HSTS only where the public address is HTTPS (RFC 6797 §7.2). */
export function securityHeaders(config: Config): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {
    'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  }
  if (config.publicUrl.startsWith('https://'))
    headers['strict-transport-security'] = 'max-age=63072000; includeSubDomains'
  return Object.freeze(headers)
}

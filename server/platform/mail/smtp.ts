import { isIP } from 'node:net'
import { ConfigError } from '../config.ts'
import { type Deliver, MailRefused } from './message.ts'

interface SmtpServer {
  readonly host: string
  readonly port: number
  /** TLS from the first byte (smtps). */
  readonly secure: boolean
  readonly auth: { user: string; pass: string } | undefined
}

/**
 * Sends to an SMTP server over TLS whose certificate is verified: from the first byte (smtps://), or by STARTTLS before anything else is
 * said (smtp://), without which nothing is sent. Only to this machine itself mail goes in the clear: nobody is in between.
 */
export function openSmtp(url: string): Deliver {
  const server = parseSmtpUrl(url)
  const isLocal = isLoopback(server.host)
  return async (message, signal) => {
    // Loaded here: 42 ms that a start without SMTP does not need.
    const { createTransport } = await import('nodemailer')
    const transport = createTransport({
      ...server,
      requireTLS: !isLocal && !server.secure,
      // A local server's certificate is rarely one that can be verified, and there is no way to be eavesdropped on.
      ignoreTLS: isLocal && !server.secure,
      // A server that offers no login gets no mail either: it is not the one that was configured.
      forceAuth: server.auth !== undefined,
      // Said aloud: NODE_TLS_REJECT_UNAUTHORIZED=0 would else let anybody in between read it.
      tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true },
      dnsTimeout: 10_000,
      connectionTimeout: 20_000,
      greetingTimeout: 20_000,
      socketTimeout: 30_000,
      disableFileAccess: true,
      disableUrlAccess: true,
    })
    try {
      await transport.sendMail({
        envelope: { from: message.from, to: [message.to] },
        raw: message.bytes,
        signal,
      })
      return null
    } catch (error) {
      throw isRefusedForGood(error) ? new MailRefused(`smtp_${responseCode(error)}`) : error
    } finally {
      transport.close()
    }
  }
}

const ports = { 'smtp:': 587, 'smtps:': 465 }

function parseSmtpUrl(text: string): SmtpServer {
  const url = URL.parse(text)
  const protocol = url?.protocol
  // A path or a query would be a setting that we do not have: one that only seems to be obeyed is worse than none.
  if (
    url === null ||
    url.hostname === '' ||
    (protocol !== 'smtp:' && protocol !== 'smtps:') ||
    !/^\/?$/.test(url.pathname) ||
    url.search !== '' ||
    url.hash !== '' ||
    (url.username === '') !== (url.password === '')
  )
    throw new ConfigError(['HIVESYNC_SMTP_URL must be smtp://USER:PASSWORD@HOST:PORT or smtps://…, and nothing more'])
  return {
    host: decode(url.hostname).replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? ports[protocol] : Number(url.port),
    secure: protocol === 'smtps:',
    auth: url.username === '' ? undefined : { user: decode(url.username), pass: decode(url.password) },
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new ConfigError(['HIVESYNC_SMTP_URL has a % that begins no escape: write it as %25'])
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/**
 * A 5xx that is about this mail: its recipient or its content (RFC 5321 §4.2.1). Refused logins and senders are about our settings,
 * which somebody may put right within the day: those are tried again.
 */
function isRefusedForGood(error: unknown): boolean {
  const code = responseCode(error)
  if (code === undefined || code < 500 || code > 599 || needsLogin.has(code)) return false
  return error instanceof Error && 'command' in error && (error.command === 'RCPT TO' || error.command === 'DATA')
}

const needsLogin: ReadonlySet<number> = new Set([530, 534, 535, 538]) // RFC 4954 §6

function responseCode(error: unknown): number | undefined {
  return error instanceof Error && 'responseCode' in error && typeof error.responseCode === 'number'
    ? error.responseCode
    : undefined
}

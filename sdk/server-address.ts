import { HiveSyncError } from './error.ts'

export type ServerAddress = string

/** Answers whether a host name of a parsed URL can only be this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

/**
 * The server's base address without a trailing slash. Refuses what is not http(s), a user name in it, a query or fragment,
 * and `http:` to another machine unless allowed: whoever listens on the way would read the credentials.
 */
export function parseServerAddress(text: string, options: { allowHttp: boolean }): ServerAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw refusal('unreadable_address', 'Write the server as https://host or http://127.0.0.1:7070')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw refusal('unreadable_address', 'The address of the server holds only scheme, host, port and path')
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && !options.allowHttp) {
    throw refusal('insecure_server', 'Credentials would travel readable over http: to another machine; use https:')
  }
  return url.href.replace(/\/+$/, '')
}

function refusal(code: 'unreadable_address' | 'insecure_server', detail: string): HiveSyncError {
  return new HiveSyncError(code, { title: 'The server address is not acceptable', detail })
}

import { readFileSync } from 'node:fs'

/** Of a server on this machine, whose port is all that may have changed. */
const loopback = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?$/

/**
 * Says to our own worker that the server it enrolled at, on this machine, is the one it gets now at another port; it makes
 * sure that this one knows it. Nothing for another address, a file that is not there or one that is damaged: the worker
 * judges those.
 */
export function movedFrom(identityFile: string, url: string): { HIVESYNC_WORKER_MOVED_FROM?: string } {
  let server: unknown
  try {
    server = (JSON.parse(readFileSync(identityFile, 'utf8')) as { server?: unknown }).server
  } catch {
    return {}
  }
  const origin = URL.parse(url)?.origin
  if (typeof server !== 'string' || origin === undefined || server === origin) return {}
  return loopback.test(server) && loopback.test(origin) ? { HIVESYNC_WORKER_MOVED_FROM: server } : {}
}

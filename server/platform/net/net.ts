import type { buildConnector, Client, Dispatcher } from 'undici'
import type { EgressSettings } from '../config-egress.ts'
import { createDestinations } from './destination.ts'
import { NetFailure } from './net-failure.ts'
import { openSocket } from './open-socket.ts'

export interface NetRequest {
  readonly url: URL
  /** Whose request it is, such as a webhook's id: connections are kept and counted for each by itself. */
  readonly lane: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  /** For all of it, from the name to the last byte of the answer. */
  readonly timeoutMs: number
}

export interface NetReply {
  readonly status: number
  readonly retryAfter: string | null
  readonly remoteAddress: string | null
  /** The first 4 KiB of the body, as it came: nothing is unpacked. */
  readonly body: Uint8Array
}

/** The only way out for requests whose address somebody chose (requirement J3, ASVS 5.0 1.3.6): see `openSocket` for where they may go. */
export interface Net {
  /** Refuses with `NetFailure` an address that `post` would refuse; what `post` asks is asked anew all the same. */
  judge(url: URL): Promise<void>
  /** Sends a POST and answers whatever came back; no redirect is followed and no proxy asked. Throws `NetFailure` where nothing came. */
  post(request: NetRequest): Promise<NetReply>
  readonly isClosed: boolean
  /** Takes no more requests, and gives those under way three seconds. */
  close(): Promise<void>
}

/** Read of an answer, and kept of it: who sends more is cut off, and no one reads more than a page of it. */
const maxReadBytes = 16 * 1024
const maxKeptBytes = 4 * 1024
const maxHeaderBytes = 16 * 1024
const idleMs = 30_000
const maxIdleConnections = 1000
const closeWithinMs = 3000

interface Connection {
  readonly client: Client
  readonly origin: string
  remoteAddress: string | null
  requests: number
  idleSince: number
}

/** Opens nothing until the first request. */
export function createNet(settings: EgressSettings, now: () => number): Net {
  const destinations = createDestinations(settings)
  /** Idle connections by lane. */
  const idle = new Map<string, Connection[]>()
  const busy = new Set<Connection>()
  const underWay = new Set<Promise<unknown>>()
  let idleCount = 0
  let isClosed = false
  let sweeper: NodeJS.Timeout | undefined

  async function take(lane: string, url: URL): Promise<Connection> {
    const kept = idle.get(lane)
    // Those of an address that the lane had before go with the next sweep.
    const index = kept?.findLastIndex(({ origin, client }) => origin === url.origin && !client.destroyed) ?? -1
    const [found] = index < 0 ? [] : (kept?.splice(index, 1) ?? [])
    if (found !== undefined) idleCount--
    const connection = found ?? (await open(url))
    busy.add(connection)
    return connection
  }

  async function open(url: URL): Promise<Connection> {
    const { Client } = await library()
    if (isClosed) throw new NetFailure('closed', 'the server is stopping')
    const connect: buildConnector.connector = (_options, answer) => {
      openSocket(destinations, url).then(
        (socket) => {
          connection.remoteAddress = socket.remoteAddress ?? null
          answer(null, socket)
        },
        (error: Error) => {
          if (error instanceof NetFailure) connection.remoteAddress = error.remoteAddress
          answer(error, null)
        },
      )
    }
    const client = new Client(url.origin, {
      connect,
      allowH2: false,
      pipelining: 1,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
      maxHeaderSize: maxHeaderBytes,
      // One clock over all of it is ours; these would begin anew with each byte.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    const connection: Connection = { client, origin: url.origin, remoteAddress: null, requests: 0, idleSince: 0 }
    return connection
  }

  function giveBack(lane: string, connection: Connection): void {
    busy.delete(connection)
    if (isClosed || connection.client.destroyed || idleCount >= maxIdleConnections) return drop(connection)
    connection.idleSince = now()
    const kept = idle.get(lane) ?? []
    idle.set(lane, kept)
    kept.push(connection)
    idleCount++
    sweeper ??= setInterval(sweep, idleMs).unref()
  }

  function sweep(): void {
    const before = now() - idleMs
    for (const [lane, kept] of idle) {
      const fresh = kept.filter((connection) => connection.idleSince > before && !connection.client.destroyed)
      for (const connection of kept) if (!fresh.includes(connection)) drop(connection)
      idleCount -= kept.length - fresh.length
      if (fresh.length > 0) idle.set(lane, fresh)
      else idle.delete(lane)
    }
    if (idle.size > 0) return
    clearInterval(sweeper)
    sweeper = undefined
  }

  async function attempt(request: NetRequest, endsAtMs: number): Promise<NetReply> {
    const connection = await take(request.lane, request.url)
    const isReused = connection.requests++ > 0
    try {
      return await exchange(connection, request, endsAtMs)
    } catch (error) {
      drop(connection)
      const failure = error instanceof NetFailure ? error : describe(error)
      failure.remoteAddress ??= connection.remoteAddress
      // The other side closed while nothing was under way, as it may (RFC 9112 §9.3.1): that says nothing about this request. It has no more time for that.
      if (failure.reason === 'connection_closed' && isReused && !isClosed) return attempt(request, endsAtMs)
      throw failure
    } finally {
      giveBack(request.lane, connection)
    }
  }

  return {
    get isClosed() {
      return isClosed
    },
    async judge(url) {
      await destinations.find(url)
    },
    post(request) {
      if (isClosed) return Promise.reject(new NetFailure('closed', 'the server is stopping'))
      const reply = attempt(request, performance.now() + request.timeoutMs).finally(() => underWay.delete(reply))
      underWay.add(reply)
      return reply
    },
    async close() {
      isClosed = true
      clearInterval(sweeper)
      for (const connection of [...idle.values()].flat()) drop(connection)
      idle.clear()
      const patience = setTimeout(() => {
        for (const { client } of busy) client.destroy(new NetFailure('closed', 'the server is stopping'), noop)
      }, closeWithinMs)
      await Promise.allSettled(underWay)
      clearTimeout(patience)
    },
  }
}

// 40 ms at start for what nobody may ever use.
const library = () => import('undici')

const noop = (): void => {}

function drop({ client }: Connection): void {
  if (!client.destroyed) client.destroy(null, noop)
}

function exchange(connection: Connection, request: NetRequest, endsAtMs: number): Promise<NetReply> {
  const { client } = connection
  const { promise, resolve, reject } = Promise.withResolvers<NetReply>()
  const chunks: Buffer[] = []
  let read = 0
  let status = 0
  let retryAfter: string | null = null
  const giveUp = () =>
    client.destroy(new NetFailure('timeout', `no complete answer within ${request.timeoutMs} ms`), noop)
  const timer = setTimeout(giveUp, Math.max(1, endsAtMs - performance.now()))
  const finish = (): void =>
    resolve({
      status,
      retryAfter,
      remoteAddress: connection.remoteAddress,
      body: Buffer.concat(chunks).subarray(0, maxKeptBytes),
    })
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {},
    onResponseStart(_controller, code, headers) {
      if (code < 200) return
      status = code
      const given = headers['retry-after']
      retryAfter = typeof given === 'string' ? given : null
    },
    onResponseData(_controller, chunk) {
      read += chunk.length
      if (read - chunk.length < maxKeptBytes) chunks.push(Buffer.from(chunk))
      if (read <= maxReadBytes) return
      finish()
      client.destroy(null, noop)
    },
    onResponseEnd: finish,
    onResponseError: (_controller, error) => reject(error),
  }
  const { pathname, search } = request.url
  const { headers, body } = request
  client.dispatch({ method: 'POST', path: `${pathname}${search}`, headers: { ...headers }, body }, handler)
  return promise.finally(() => clearTimeout(timer))
}

function describe(error: unknown): NetFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  const isClosed = code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
  return isClosed
    ? new NetFailure('connection_closed', 'the connection was closed before the answer', { cause: error })
    : new NetFailure('response_invalid', `the answer is not HTTP as it should be (${code})`, { cause: error })
}

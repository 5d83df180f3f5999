import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type * as contract from '@hivesync/contracts/worker-protocol.ts'
import { isContentDigest } from '@hivesync/protocol/content-digest.ts'
import { isKeyRotationProven } from '@hivesync/protocol/key-rotation.ts'
import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { parseSignature, verifySignature } from '@hivesync/protocol/signature.ts'
import { systemClock } from '../clock.ts'
import type { OutboxRecord } from '../report/outbox.ts'
import { findContractFault } from './contract-fault.ts'
import {
  type Answer,
  closeServer,
  findOperation,
  type Members,
  type Operation,
  operations,
  parseSigner,
  problem,
  readBody,
  type Seen,
  testId,
} from './contract-request.ts'
import { type PeerArtifact, serveFiles } from './file-peer.ts'

export interface Lease {
  claim: contract.Claim
  started: boolean
  verdict: 'ok' | 'cancel' | 'lost'
  log: contract.LogChunk[]
  progress: Members[]
  files: contract.IndexedFile[]
  /** The archive that its claim names. */
  bundle?: Buffer
  artifacts: Map<string, PeerArtifact>
  completion: OutboxRecord['completion'] | undefined
  completions: number
}

export interface ContractServer {
  readonly origin: string
  readonly port: number
  readonly enrolmentToken: string
  readonly workers: Map<string, { publicKey: string; name: string }>
  /** The token is a fleet's: it works again and again, and its workers are ephemeral and bound to this pool. */
  fleet: string | undefined
  /** What polls are told: the worker is to finish what it holds. */
  draining: boolean
  readonly requests: Seen[]
  readonly leases: Map<number, Lease>
  /** The code with which files are refused. */
  storageRefusal: string | undefined
  /** Answers in place of the server; `hang up` cuts the connection. */
  intercept: ((operation: Operation, seen: Seen) => Answer | 'hang up' | undefined) | undefined
  /** Holds heartbeats open, as a server does that knows `waitSeconds`, until a newer one comes or `tell` is called. */
  holdsBeats: boolean
  /** Sets what a lease is told, in the beat that is held open or the next one. */
  tell(lease: Lease, verdict: Lease['verdict']): void
  submit(kind: 'ingest' | 'compute', input: Members, lease?: Partial<contract.Claim>): Lease
  /** Resolves once the condition holds; asked after every request. */
  until<T>(condition: () => T | undefined | false): Promise<T>
  text(lease: Lease, stream?: string): string
  close(): Promise<void>
}

/**
 * The other end of the worker protocol for tests: checks every request's signature, freshness, digest and body against the
 * contract, leases jobs and keeps what is reported about them. `port` reopens one that was closed.
 */
export async function openContractServer(options: { port?: number; from?: ContractServer; offsetMs?: number } = {}) {
  const { from } = options
  const nowMs = () => systemClock.nowMs() + (options.offsetMs ?? 0)
  const state = {
    workers: from?.workers ?? new Map<string, { publicKey: string; name: string }>(),
    leases: from?.leases ?? new Map<number, Lease>(),
    requests: from?.requests ?? [],
    nonces: new Set(from?.requests.map((seen) => seen.nonce)),
    queued: [] as Lease[],
    pollers: [] as { free: number; answer: () => void }[],
    watchers: new Set<() => void>(),
  }
  const server: ContractServer = {
    origin: '',
    port: 0,
    enrolmentToken: 'one-time-enrolment-token',
    ...{ workers: state.workers, requests: state.requests, leases: state.leases },
    fleet: undefined,
    draining: false,
    storageRefusal: undefined,
    intercept: undefined,
    holdsBeats: false,
    tell(lease, verdict) {
      lease.verdict = verdict
      heldBeat?.resolve()
    },
    submit(kind, input, claim = {}) {
      const token = 1 + state.leases.size
      const made = { token, jobId: testId(token), projectId: testId(0), kind, input, attempt: 1, ...claim }
      const timing = {
        leaseTtlSeconds: claim.leaseTtlSeconds ?? 60,
        startWithinSeconds: claim.startWithinSeconds ?? 30,
      }
      const empty = { started: false, verdict: 'ok', completion: undefined, completions: 0 } as const
      const lease: Lease = {
        claim: { ...made, ...timing },
        ...empty,
        log: [],
        progress: [],
        files: [],
        artifacts: new Map(),
      }
      state.leases.set(token, lease)
      state.queued.push(lease)
      state.pollers.shift()?.answer()
      return lease
    },
    until(condition) {
      return new Promise((resolve) => {
        const look = () => {
          const found = condition()
          if (found === undefined || found === false) return
          state.watchers.delete(look)
          resolve(found)
        }
        state.watchers.add(look)
        look()
      })
    },
    text: (lease, stream) =>
      lease.log.flatMap((chunk) => (stream === undefined || chunk.stream === stream ? [chunk.text] : [])).join(''),
    close: () => {
      heldBeat?.resolve()
      return closeServer(http, sockets)
    },
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = findOperation(request)
    const raw = await readBody(request)
    if (found === undefined) return reply(response, serveFiles(server, request, raw) ?? problem(404, 'not_found'))
    const { operation, token } = found
    const body = raw.length === 0 ? {} : (JSON.parse(raw.toString('utf8')) as Members)
    const seen: Seen = { operation, token, body, ...parseSigner(request) }
    state.requests.push(seen)
    const answer = server.intercept?.(operation, seen) ?? refuse(request, raw, seen) ?? (await act(seen, response))
    if (answer === 'hang up') request.socket.destroy()
    else reply(response, answer)
    for (const look of [...state.watchers]) look()
  }

  function refuse(request: IncomingMessage, raw: Buffer, seen: Seen): Answer | undefined {
    const { operation } = seen
    const schema = (operations[operation] as Endpoint).body
    const fault = schema === undefined ? (raw.length > 0 ? 'a body' : undefined) : findContractFault(schema, seen.body)
    if (fault !== undefined) return { ...problem(400, 'invalid_request'), headers: { 'x-fault': fault } }
    if (raw.length > ((operations[operation] as Endpoint).maxBodyBytes ?? 65_536))
      return problem(413, 'payload_too_large')
    if (operation === 'enrolWorker') return undefined
    const parsed = parseSignature(request.headers)
    if (!parsed.ok) return problem(401, parsed.code)
    const worker = state.workers.get(parsed.keyId)
    if (worker === undefined) return problem(401, 'worker_revoked')
    const verified = verifySignature(parsed, {
      method: request.method ?? '',
      target: request.url ?? '',
      key: importPublicKey(worker.publicKey),
      nowSeconds: Math.floor(nowMs() / 1000),
    })
    if (!verified.ok) return problem(401, verified.code)
    if (!isContentDigest(parsed.contentDigest, raw)) return problem(400, 'digest_mismatch')
    if (state.nonces.has(verified.nonce)) return problem(401, 'signature_replayed')
    state.nonces.add(verified.nonce)
    return undefined
  }

  async function act(seen: Seen, response: ServerResponse): Promise<Answer> {
    const { operation, token, body } = seen
    if (operation === 'enrolWorker') return enrol(body)
    if (operation === 'claimJobs') return await claim(body, response)
    if (operation === 'heartbeat') return await beat(body, response)
    if (operation === 'rotateKey') return rotate(seen)
    if (operation === 'signOff') return { status: state.workers.delete(seen.keyId ?? '') ? 204 : 401 }
    if (operation === 'startLeases') return startMany(body)
    if (operation === 'completeLeases') return completeMany(body)
    const lease = state.leases.get(token)
    if (lease === undefined || lease.verdict === 'lost') return problem(409, 'lease_lost')
    if (operation === 'completeLease') return complete(lease, body)
    if (operation === 'startLease') lease.started = true
    if (operation === 'reportProgress') lease.progress.push(body)
    if (operation === 'uploadIndex') lease.files.push(...(body.files as contract.IndexedFile[]))
    if (operation !== 'appendLog') return { status: 204 }
    for (const chunk of body.chunks as contract.LogChunk[]) if (chunk.seq === lease.log.length) lease.log.push(chunk)
    return { status: 200, body: { nextSeq: lease.log.length, truncated: false } }
  }

  function enrol(body: Members): Answer {
    const { publicKey, name } = body as { publicKey: string; name: string }
    const isSpent = state.workers.size > 0 && server.fleet === undefined
    if (body.enrolmentToken !== server.enrolmentToken || isSpent) return problem(401, 'invalid_enrolment_token')
    const workerId = testId(900 + state.workers.size)
    state.workers.set(workerId, { publicKey, name })
    const isFleet = server.fleet !== undefined
    return { status: 201, body: { workerId, name, ephemeral: isFleet, pool: server.fleet ?? null, reusable: isFleet } }
  }

  async function claim(body: Members, response: ServerResponse): Promise<Answer> {
    if (state.queued.length === 0 && Number(body.waitSeconds) > 0) {
      for (const look of [...state.watchers]) look()
      const closed = new Promise<void>((resolve) => response.once('close', () => resolve()))
      const wake = Promise.withResolvers<void>()
      const poller = { free: Number(body.freeSlots), answer: wake.resolve }
      state.pollers.push(poller)
      const timer = setTimeout(wake.resolve, Number(body.waitSeconds) * 1000)
      await Promise.race([wake.promise, closed])
      clearTimeout(timer)
      state.pollers = state.pollers.filter((other) => other !== poller)
      if (response.destroyed) return { status: 200 }
    }
    const jobs = state.queued.splice(0, Number(body.freeSlots)).map((lease) => lease.claim)
    return { status: 200, body: { jobs, draining: server.draining } }
  }

  let heldBeat: PromiseWithResolvers<void> | undefined
  async function beat(body: Members, response: ServerResponse): Promise<Answer> {
    heldBeat?.resolve()
    if (server.holdsBeats && Number(body.waitSeconds ?? 0) > 0) {
      const held = Promise.withResolvers<void>()
      heldBeat = held
      response.once('close', held.resolve)
      for (const look of [...state.watchers]) look()
      await held.promise
    }
    const leases = (body.leases as number[]).map((token) => ({
      token,
      verdict: state.leases.get(token)?.verdict ?? 'lost',
    }))
    return { status: 200, body: { leases, draining: false, nextSeconds: server.holdsBeats ? 0 : 1 } }
  }

  function startMany(body: Members): Answer {
    const leases = (body.tokens as number[]).map((token) => {
      const lease = state.leases.get(token)
      if (lease === undefined || lease.verdict === 'lost') return { token, verdict: 'lost' }
      lease.started = true
      return { token, verdict: 'ok' }
    })
    return { status: 200, body: { leases } }
  }

  function completeMany(body: Members): Answer {
    const completions = (body.completions as ({ token: number } & Members)[]).map(({ token, ...completion }) => {
      const lease = state.leases.get(token)
      if (lease === undefined || lease.verdict === 'lost') return { token, code: 'lease_lost' }
      return { token, ...(complete(lease, completion).body as Members) }
    })
    return { status: 200, body: { completions } }
  }

  /** As the real one, without an overlap: the old key is good for nothing once the new one is taken. */
  function rotate(seen: Seen): Answer {
    const worker = state.workers.get(seen.keyId ?? '')
    if (worker === undefined) return problem(401, 'worker_revoked')
    const { publicKey, proof } = seen.body as { publicKey: string; proof: string }
    const rotation = { workerId: seen.keyId ?? '', presentKey: worker.publicKey, newKey: publicKey }
    if (!isKeyRotationProven(rotation, proof, importPublicKey(publicKey))) return problem(409, 'worker_key_refused')
    worker.publicKey = publicKey
    return { status: 200, body: { keyExpiresAt: new Date(nowMs() + 90 * 86_400_000).toISOString() } }
  }

  function complete(lease: Lease, body: Members): Answer {
    lease.completion = body as OutboxRecord['completion']
    lease.completions += 1
    return { status: 200, body: { jobId: lease.claim.jobId, state: String(body.outcome) } }
  }

  function reply(response: ServerResponse, { status, body, headers }: Answer): void {
    response.writeHead(status, {
      date: new Date(nowMs()).toUTCString(),
      'content-type': 'application/json',
      ...headers,
    })
    response.end(body === undefined || body instanceof Buffer ? body : JSON.stringify(body))
  }

  const http = createServer((request, response) => {
    // A request the worker gave up on ends in an error here; anything else is a fault of this server.
    serve(request, response).catch((error: unknown) => {
      if (!request.destroyed) throw error
    })
  })
  const sockets = new Set<Socket>()
  http.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve))
  const { port } = http.address() as AddressInfo
  return Object.assign(server, { port, origin: `http://127.0.0.1:${port}` })
}

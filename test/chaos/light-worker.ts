import { randomBytes } from 'node:crypto'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import { type EncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { signRequest } from '@hivesync/protocol/signature.ts'
import type { Answer, HttpClient } from './client.ts'
import { drawPlan, type Plan } from './plan.ts'
import type { Random } from './random.ts'

export interface WorkerIdentity {
  workerId: string
  keys: EncodedKeyPair
}

/** An accepted completion, as the worker heard of it. */
export interface Accepted {
  token: number
  jobId: string
  outcome: string
  state: string
}

export interface LightWorkerOptions {
  http: HttpClient
  identity: WorkerIdentity
  slots: number
  random: Random
  /** Told of each accepted completion before anything else is done. */
  onAccepted(accepted: Accepted): void
  /** From then on it behaves, so that what is left comes to an end. */
  isCalm(): boolean
}

interface Held {
  isCanceled: boolean
  isLost: boolean
}

const retryMs = 300
const report = {
  version: '0.1.0',
  labels: [],
  kinds: ['compute', 'ingest'],
  isolation: { level: 'full', layers: [], reason: null },
}

/** Waits on the process's own clock, which the timers of its modules do not follow. */
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * A worker that speaks the whole signed protocol and runs nothing: it works for a drawn time and ends as it was drawn, and sometimes does what no
 * worker should (never starts, falls silent and comes back late, completes twice at once, or in two ways at once). Never returns.
 */
export async function runLightWorker(options: LightWorkerOptions): Promise<never> {
  const { http, identity, slots, random } = options
  const key = importPrivateKey(identity.keys)
  const held = new Map<number, Held>()
  let freed = Promise.withResolvers<void>()
  const letGo = (token: number): void => {
    held.delete(token)
    freed.resolve()
    freed = Promise.withResolvers()
  }

  async function call(contract: { path: string }, body: unknown, token?: number): Promise<Answer> {
    const target = token === undefined ? contract.path : contract.path.replace(':token', String(token))
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
    const nonce = randomBytes(16).toString('base64url')
    const createdSeconds = Math.floor(Date.now() / 1000)
    const signed = signRequest({
      method: 'POST',
      target,
      body: bytes,
      keyId: identity.workerId,
      key,
      createdSeconds,
      nonce,
    })
    const type: Record<string, string> = bytes.length === 0 ? {} : { 'content-type': 'application/json' }
    return http.send({ method: 'POST', target, headers: { ...type, ...signed }, body: bytes })
  }

  /** Asks until the server has decided; `lease_lost` is a decision. A server that is away, or whose clock is wrong just now, has not. */
  async function insist(
    contract: { path: string },
    body: unknown,
    token: number,
    isWorthIt: () => boolean,
  ): Promise<Answer | undefined> {
    while (isWorthIt()) {
      const answer = await call(contract, body, token).catch(() => undefined)
      const isDecided = answer !== undefined && answer.status < 500 && answer.status !== 401 && answer.status !== 429
      if (isDecided) return answer
      await wait(retryMs)
    }
    return undefined
  }

  async function complete(
    claim: protocol.Claim,
    completion: object & { outcome: string },
    isWorthIt: () => boolean,
  ): Promise<void> {
    const answer = await insist(protocol.completeLease, completion, claim.token, isWorthIt)
    if (answer?.status !== 200) return
    const { jobId, state } = answer.body as { jobId: string; state: string }
    options.onAccepted({ token: claim.token, jobId, outcome: completion.outcome, state })
  }

  async function work(claim: protocol.Claim, plan: Plan): Promise<void> {
    const state = { isCanceled: false, isLost: false }
    held.set(claim.token, state)
    const isHeld = (): boolean => !state.isLost
    try {
      if (plan.manner === 'never starts') return
      const started = await insist(protocol.startLease, undefined, claim.token, isHeld)
      if (started?.status !== 204) return
      if (plan.speaks) {
        await call(protocol.reportProgress, { phase: 'working', progress: 50 }, claim.token).catch(() => {})
        const chunks = [{ seq: 0, stream: 'stdout', at: Date.now(), text: 'buzz\n' }]
        await insist(protocol.appendLog, { chunks }, claim.token, isHeld)
      }
      if (plan.manner === 'comes back late') letGo(claim.token)
      await wait(plan.workMs)
      if (state.isCanceled) return await complete(claim, { outcome: 'canceled' }, isHeld)
      const completion = await completionOf(claim, plan)
      if (plan.manner === 'completes in two ways')
        await Promise.all([complete(claim, completion, isHeld), complete(claim, { outcome: 'returned' }, isHeld)])
      else if (plan.manner === 'completes twice')
        await Promise.all([complete(claim, completion, isHeld), complete(claim, completion, isHeld)])
      else await complete(claim, completion, isHeld)
    } finally {
      letGo(claim.token)
    }
  }

  async function completionOf({ token, kind }: protocol.Claim, { outcome, isInfrastructure }: Plan) {
    if (outcome === 'failed')
      return { outcome, error: { code: 'chaos', message: 'as drawn' }, infrastructure: isInfrastructure }
    if (outcome !== 'succeeded' || kind !== 'ingest')
      return { outcome, ...(outcome === 'succeeded' && { result: { exitCode: 0 } }) }
    const files = [{ path: 'comb.txt', language: null, text: `built under ${token}` }]
    await insist(protocol.uploadIndex, { batch: 0, files }, token, () => held.has(token))
    return { outcome, result: { commit: 'c'.repeat(40), branch: 'main', files: 1, bytes: 20 } }
  }

  async function beat(): Promise<void> {
    for (let nextMs = 0; ; ) {
      await wait(nextMs)
      const answer = await call(protocol.heartbeat, { leases: [...held.keys()] }).catch(() => undefined)
      nextMs = retryMs
      if (answer?.status !== 200) continue
      const { leases, nextSeconds } = answer.body as {
        leases: { token: number; verdict: string }[]
        nextSeconds: number
      }
      nextMs = nextSeconds * 1000
      for (const { token, verdict } of leases) {
        const state = held.get(token)
        if (state === undefined) continue
        state.isCanceled ||= verdict === 'cancel'
        state.isLost ||= verdict === 'lost'
        if (state.isLost) letGo(token)
      }
    }
  }

  async function claim(): Promise<never> {
    for (;;) {
      const freeSlots = slots - held.size
      if (freeSlots <= 0) {
        await freed.promise
        continue
      }
      const body = { report: { ...report, slots }, freeSlots, waitSeconds: random.between(1, 20) }
      const answer = await call(protocol.claimJobs, body).catch(() => undefined)
      if (answer?.status !== 200) {
        await wait(retryMs)
        continue
      }
      for (const taken of (answer.body as { jobs: protocol.Claim[] }).jobs)
        void work(taken, drawPlan(random, options.isCalm()))
    }
  }

  void beat()
  return claim()
}

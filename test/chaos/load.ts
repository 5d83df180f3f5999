import { setTimeout as delay } from 'node:timers/promises'
import * as jobs from '@hivesync/contracts/jobs.ts'
import type { Answer, HttpClient } from './client.ts'
import { sandboxLabel } from './installation.ts'
import type { Random } from './random.ts'
import type { Tenants } from './tenants.ts'

/** What the clients of a run were told: the promises that the database must keep. */
export interface Ledger {
  /** The job that each idempotency key was answered with. */
  readonly jobOf: Map<string, string>
  /** Keys that were answered with two jobs. */
  readonly torn: string[]
  readonly counts: {
    submitted: number
    repeated: number
    full: number
    canceled: number
    retried: number
    unanswered: number
  }
}

export interface Load {
  readonly ledger: Ledger
  /** Lets every request under way come to its answer. */
  stop(): Promise<void>
}

const pauseMs = { from: 5, to: 40 }
const retryMs = 150
const json = { 'content-type': 'application/json' }

/** Starts clients that submit, repeat, cancel and retry jobs until stopped. A submission is insisted on, under its key, until it is decided. */
export function startLoad(http: HttpClient, tenants: Tenants, lanes: number, random: Random): Load {
  const counts = { submitted: 0, repeated: 0, full: 0, canceled: 0, retried: 0, unanswered: 0 }
  const ledger: Ledger = { jobOf: new Map(), torn: [], counts }
  const bodies = new Map<string, { target: string; body: Buffer }>()
  const headers = { ...json, authorization: `Bearer ${tenants.apiKey}` }
  let isOver = false
  let serial = 0

  async function ask(
    target: string,
    body: Buffer | undefined,
    more: Record<string, string> = {},
  ): Promise<Answer | undefined> {
    try {
      const answer = await http.send({ method: 'POST', target, headers: { ...headers, ...more }, body })
      if (answer.status < 500) return answer
    } catch {
      // Nobody knows what became of it: counted, and asked again by whoever needs to know.
    }
    counts.unanswered++
    return undefined
  }

  async function submit(key: string): Promise<void> {
    const { target, body } = bodies.get(key) ?? { target: '', body: undefined }
    for (;;) {
      const answer = await ask(target, body, { 'idempotency-key': key })
      if (answer?.status === 201) return accept(key, (answer.body as { id: string }).id)
      if (answer?.code === 'queue_full') {
        counts.full++
        return
      }
      if (answer !== undefined)
        throw new Error(`a submission was refused: ${answer.status} ${JSON.stringify(answer.body)}`)
      await delay(retryMs)
    }
  }
  const accept = (key: string, jobId: string): void => {
    const known = ledger.jobOf.get(key)
    if (known === undefined) counts.submitted++
    else if (known === jobId) counts.repeated++
    else ledger.torn.push(`${key}: ${known} and ${jobId}`)
    ledger.jobOf.set(key, jobId)
  }
  const act = async (contract: { path: string }, what: 'canceled' | 'retried', jobId: string): Promise<void> => {
    const answer = await ask(contract.path.replace(':jobId', jobId), undefined)
    if (answer?.status === 200) counts[what]++
  }

  async function lane(own: Random): Promise<void> {
    while (!isOver) {
      const drawn = own.fraction()
      const [key, jobId] = [...ledger.jobOf].at(-1 - own.below(200)) ?? []
      if (drawn < 0.75 || key === undefined || jobId === undefined) {
        const { id } = own.pick(tenants.projects)
        const fresh = `key-${serial++}`
        const body = Buffer.from(JSON.stringify(drawJob(own)))
        bodies.set(fresh, { target: jobs.submitJob.path.replace(':projectId', id), body })
        await submit(fresh)
      } else if (drawn < 0.83) await submit(key)
      else if (drawn < 0.93) await act(jobs.cancelJob, 'canceled', jobId)
      else await act(jobs.retryJob, 'retried', jobId)
      await delay(own.between(pauseMs.from, pauseMs.to))
    }
  }
  const running = Array.from({ length: lanes }, (_, index) => lane(random.fork(`lane ${index}`)))
  // A lane that fails is heard of at the end, not as a crash in between.
  const ended = Promise.all(running)
  ended.catch(() => {})
  return {
    ledger,
    async stop() {
      isOver = true
      await ended
    },
  }
}

/** Times to live are on the servers' clock: they run out within the run. */
function drawJob(random: Random): object {
  const drawn = random.fraction()
  const priority = random.below(10)
  const maxAttempts = random.between(1, 3)
  const compute = { kind: 'compute', input: { command: ['true'] }, priority, maxAttempts }
  if (drawn < 0.02) return { ...compute, labels: [sandboxLabel], ttlSeconds: 240 }
  if (drawn < 0.04) return { ...compute, labels: ['nobody-has-it'], ttlSeconds: random.between(1, 20) }
  if (drawn < 0.08) return { ...compute, ttlSeconds: random.between(1, 5) }
  if (drawn < 0.25)
    return { kind: 'ingest', input: { repository: 'https://example.net/honey/comb.git' }, priority, maxAttempts }
  return compute
}

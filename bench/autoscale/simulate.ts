import {
  desiredSlots,
  estimateLoad,
  type IdleWorker,
  needsScaleIn,
  needsScaleOut,
  type Sample,
  scalingSettings,
} from '../../server/scaling/decision.ts'
import type { DayJob } from './day.ts'

/** A look as the server takes it, and a poll as KEDA does by default. */
const sampleSeconds = 5
const pollSeconds = 30
/** From the decision to a worker that polls: a container on a machine that is there already. */
const startSeconds = 45
export const slotsPerWorker = 4

interface Worker {
  id: string
  readyAt: number
  goneAt: number
  idleSince: number
  /** When each of its jobs ends. */
  jobs: { kind: string; startedAt: number; endsAt: number }[]
}

export interface Point {
  second: number
  load: number
  workers: number
  queued: number
}

export interface Outcome {
  points: Point[]
  /** Seconds that each job waited, in order. */
  waits: number[]
  workerHours: number
  started: number
  stopped: number
  /** Jobs that ran on a worker when it was told to go: must be none. */
  interrupted: number
}

/** What to do with the pool at a poll. */
export type Policy = (
  samples: readonly Sample[],
  idle: readonly IdleWorker[],
) => { grow: number; leave: readonly string[] }

/** The decisions of the product: `needsScaleOut` brings what is missing, `needsScaleIn` names who goes. */
export const hivesyncPolicy: Policy = (samples, idle) => {
  const now = samples.at(-1)
  if (now === undefined) return { grow: 0, leave: [] }
  if (needsScaleOut(samples)) return { grow: Math.max(slotsPerWorker, desiredSlots(now.load) - now.slots), leave: [] }
  return { grow: 0, leave: needsScaleIn(samples, idle) }
}

/** What a scaler does that follows the queue at each poll, without memory. */
export const nervousPolicy: Policy = (samples, idle) => {
  const now = samples.at(-1)
  if (now === undefined) return { grow: 0, leave: [] }
  const wanted = desiredSlots(now.load)
  const tooMany = Math.floor((now.slots - wanted) / slotsPerWorker)
  return {
    grow: Math.max(0, wanted - now.slots),
    leave: idle.slice(0, Math.max(0, tooMany)).map(({ workerId }) => workerId),
  }
}

/** Never changes. */
export const fixedPolicy: Policy = () => ({ grow: 0, leave: [] })

/** Plays a day second by second: jobs start first come, first served, on any free slot. */
export function simulate(day: readonly DayJob[], policy: Policy, firstWorkers: number, seconds: number): Outcome {
  const outcome: Outcome = { points: [], waits: [], workerHours: 0, started: 0, stopped: 0, interrupted: 0 }
  let workers: Worker[] = Array.from({ length: firstWorkers }, (_, i) => newWorker(`first-${i}`, 0))
  const queue: DayJob[] = []
  const means: Record<string, number> = {}
  let samples: Sample[] = []
  let next = 0
  for (let second = 0; second < seconds; second++) {
    for (let job = day[next]; job !== undefined && job.at <= second; job = day[++next]) queue.push(job)
    for (const worker of workers) endJobs(worker, second, means)
    startJobs(workers, queue, second, outcome)
    outcome.workerHours += workers.length / 3600
    if (second % sampleSeconds === 0) {
      const sample = look(workers, queue, means, second)
      const oldest = sample.at - scalingSettings.calmSeconds * 1000 - 2 * sampleSeconds * 1000
      samples = [...samples.filter(({ at }) => at >= oldest), sample]
      if (second % 60 === 0)
        outcome.points.push({ second, load: sample.load, workers: workers.length, queued: queue.length })
    }
    if (second % pollSeconds === 0) workers = act(policy, samples, workers, second, outcome)
  }
  return outcome
}

const newWorker = (id: string, readyAt: number): Worker => ({
  id,
  readyAt,
  goneAt: Infinity,
  idleSince: readyAt,
  jobs: [],
})

function endJobs(worker: Worker, second: number, means: Record<string, number>): void {
  if (!worker.jobs.some(({ endsAt }) => endsAt <= second)) return
  for (const { kind, startedAt, endsAt } of worker.jobs) {
    if (endsAt <= second) means[kind] = 0.7 * (means[kind] ?? endsAt - startedAt) + 0.3 * (endsAt - startedAt)
  }
  worker.jobs = worker.jobs.filter(({ endsAt }) => endsAt > second)
  if (worker.jobs.length === 0) worker.idleSince = second
}

function startJobs(workers: readonly Worker[], queue: DayJob[], second: number, outcome: Outcome): void {
  for (const worker of workers) {
    while (queue.length > 0 && worker.readyAt <= second && worker.jobs.length < slotsPerWorker) {
      const job = queue.shift()
      if (job === undefined) return
      worker.jobs.push({ kind: job.kind, startedAt: second, endsAt: second + job.seconds })
      outcome.waits.push(second - job.at)
    }
  }
}

function look(
  workers: readonly Worker[],
  queue: readonly DayJob[],
  meanSeconds: Record<string, number>,
  second: number,
): Sample {
  const running = workers.flatMap(({ jobs }) =>
    jobs.map(({ kind, startedAt }) => ({ kind, elapsedSeconds: second - startedAt })),
  )
  const load = estimateLoad({ queued: queue.map(({ kind }) => ({ kind, count: 1 })), running, meanSeconds })
  // Machines that are on their way count as there, as they do for a scaler: else each poll would order them again.
  return {
    at: second * 1000,
    load,
    oldestQueuedSeconds: second - (queue[0]?.at ?? second),
    slots: workers.length * slotsPerWorker,
  }
}

function act(
  policy: Policy,
  samples: readonly Sample[],
  workers: Worker[],
  second: number,
  outcome: Outcome,
): Worker[] {
  const idle = workers
    .filter(({ jobs, readyAt }) => jobs.length === 0 && readyAt <= second)
    .map(({ id, idleSince }) => ({ workerId: id, slots: slotsPerWorker, idleSince: idleSince * 1000 }))
  const { grow, leave } = policy(samples, idle)
  const count = Math.ceil(grow / slotsPerWorker)
  const coming = Array.from({ length: count }, (_, i) => newWorker(`${second}-${i}`, second + startSeconds))
  outcome.started += count
  outcome.stopped += leave.length
  const leaving = new Set(leave)
  outcome.interrupted += workers.filter(({ id, jobs }) => leaving.has(id) && jobs.length > 0).length
  return [...workers.filter(({ id }) => !leaving.has(id)), ...coming]
}

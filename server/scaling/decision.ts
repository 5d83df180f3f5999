/** The figures of the decision; where they come from is said at each. */
export const scalingSettings = {
  /** What waits should be over in this time: long enough that a machine can start for it, short for a person. */
  targetSeconds: 60,
  /** A job that could run and waits longer than this calls for a machine, however little work it is. */
  longestWaitSeconds: 30,
  /** A burst of one look is no reason to start machines. */
  samplesToGrow: 2,
  /** Fewer machines only after this long below `lowShare`: starting one again costs more than keeping it (KEDA and HPA wait 5 min, we twice that). */
  calmSeconds: 600,
  lowShare: 0.7,
  /** After a change of slots the figures lag behind: the pool must settle before the next machine goes. */
  settleSeconds: 300,
} as const
export type ScalingSettings = { [K in keyof typeof scalingSettings]: number }

export interface Work {
  /** Jobs that could start now, of teams that may run more, by kind. */
  queued: readonly { kind: string; count: number }[]
  /** Running jobs with the seconds since they were claimed. */
  running: readonly { kind: string; elapsedSeconds: number }[]
  /** How long a job of a kind takes, in seconds. */
  meanSeconds: Readonly<Record<string, number>>
}

/** A kind that never ran is taken for this long: wrong either way, but one wrong look ends with its first job. */
const unknownSeconds = 30

/**
 * Slots that, kept busy, would end all this work in the target time. A job counts for one slot at most, however long it takes: no second one would help it.
 * What has run for longer than its kind's mean is expected to run as long again.
 */
export function estimateLoad(work: Work, settings: ScalingSettings = scalingSettings): number {
  const slotsFor = (seconds: number): number => Math.min(1, seconds / settings.targetSeconds)
  const meanOf = (kind: string): number => work.meanSeconds[kind] ?? unknownSeconds
  const waiting = work.queued.reduce((sum, { kind, count }) => sum + count * slotsFor(meanOf(kind)), 0)
  return work.running.reduce(
    (sum, { kind, elapsedSeconds }) => sum + slotsFor(Math.max(meanOf(kind) - elapsedSeconds, elapsedSeconds)),
    waiting,
  )
}

/** One look at a pool. */
export interface Sample {
  at: number
  /** `estimateLoad` at that moment. */
  load: number
  oldestQueuedSeconds: number
  /** Of workers that take jobs. */
  slots: number
}

/** Slots that a load asks for. */
export const desiredSlots = (load: number): number => Math.ceil(load - 1e-9)

/** Whether more workers would help: the work is more than the slots, or a job waits too long, at each of the last looks. Samples are in order of time. */
export function needsScaleOut(samples: readonly Sample[], settings: ScalingSettings = scalingSettings): boolean {
  const last = samples.slice(-settings.samplesToGrow)
  return (
    last.length >= settings.samplesToGrow &&
    last.every(
      ({ load, slots, oldestQueuedSeconds }) =>
        desiredSlots(load) > slots || oldestQueuedSeconds > settings.longestWaitSeconds,
    )
  )
}

export interface IdleWorker {
  workerId: string
  slots: number
  /** Since when it has run nothing. */
  idleSince: number
}

/**
 * The idle workers that may go, longest idle first; none unless the pool was calm without a gap for the whole time, has settled since its last change, and
 * what stays still leaves the room that `lowShare` asks for: so that the very next look does not ask for more again. A worker that runs anything is never named.
 */
export function needsScaleIn(
  samples: readonly Sample[],
  idle: readonly IdleWorker[],
  settings: ScalingSettings = scalingSettings,
): string[] {
  const now = samples.at(-1)
  const first = samples[0]
  if (now === undefined || first === undefined || now.at - first.at < settings.calmSeconds * 1000) return []
  const since = now.at - settings.calmSeconds * 1000
  const window = samples.filter(({ at }) => at >= since)
  const isCalm = window.every(({ load, slots, oldestQueuedSeconds }) => {
    return load <= slots * settings.lowShare && oldestQueuedSeconds <= settings.longestWaitSeconds
  })
  const settledSince = now.at - settings.settleSeconds * 1000
  const isSettled = window.every(({ at, slots }) => at < settledSince || slots === now.slots)
  if (!isCalm || !isSettled) return []
  const needed = Math.max(...window.map(({ load }) => load))
  const leaving: string[] = []
  let left = now.slots
  for (const { workerId, slots } of [...idle].sort((a, b) => a.idleSince - b.idleSince)) {
    if (needed > (left - slots) * settings.lowShare) continue
    left -= slots
    leaving.push(workerId)
  }
  return leaving
}

/** Exponentially weighted mean (factor 0.3) of values in order of time; undefined of none. */
export function weightedMean(values: readonly number[]): number | undefined {
  return values.reduce<number | undefined>(
    (mean, value) => (mean === undefined ? value : 0.7 * mean + 0.3 * value),
    undefined,
  )
}

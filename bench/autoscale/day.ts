/** One job of the day: when it is submitted and how long it takes, in seconds. */
export interface DayJob {
  at: number
  kind: string
  seconds: number
}

export const daySeconds = 86_400

/** Pseudo-random numbers of [0, 1) that are the same on every machine (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Jobs a minute: asleep at night, busy by day with a dip at noon, and two bursts (a nightly batch and a release in the afternoon). */
export function jobsPerMinute(second: number): number {
  const hour = second / 3600
  const bump = (middle: number, width: number) => Math.exp(-(((hour - middle) / width) ** 2))
  const bursts = (hour >= 2 && hour < 2.2 ? 40 : 0) + (hour >= 15 && hour < 15.3 ? 90 : 0)
  return 0.4 + 22 * bump(10, 2) + 26 * bump(15, 2.5) + bursts
}

/** A day of jobs as a Poisson process of that rate; durations are log-normal: short computations and longer ingests. */
export function makeDay(seed: number): DayJob[] {
  const random = seeded(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const jobs: DayJob[] = []
  const peak = 130
  for (let at = 0; at < daySeconds; ) {
    at += (-Math.log(1 - random()) * 60) / peak
    if (random() * peak > jobsPerMinute(at)) continue
    const isIngest = random() < 0.2
    jobs.push({ at, kind: isIngest ? 'ingest' : 'compute', seconds: Math.exp((isIngest ? 3.4 : 2.3) + 0.8 * normal()) })
  }
  return jobs
}

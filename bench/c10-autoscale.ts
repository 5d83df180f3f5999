// C10: a day of load played against the scaling decisions; the same day against a scaler without memory and a fleet that is always large enough. Nothing is timed:
// the figures are the same on every machine. HIVESYNC's decisions are those that the server serves.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { daySeconds, makeDay } from './autoscale/day.ts'
import { drawDay } from './autoscale/picture.ts'
import {
  fixedPolicy,
  hivesyncPolicy,
  nervousPolicy,
  type Outcome,
  type Policy,
  simulate,
} from './autoscale/simulate.ts'
import { quantile, type Report } from './report.ts'

const seed = 20_261
const picture = join(import.meta.dirname, '../docs/autoscale.svg')

export async function measure(): Promise<Report> {
  const day = makeDay(seed)
  const play = (policy: Policy, workers: number) => simulate(day, policy, workers, daySeconds)
  const ours = play(hivesyncPolicy, 0)
  const nervous = play(nervousPolicy, 0)
  const largest = Math.max(...ours.points.map(({ workers }) => workers))
  const fixed = play(fixedPolicy, largest)
  writeFileSync(picture, drawDay(ours))
  const rows = [
    row('HiveSync’s decisions', ours),
    row('a scaler without memory', nervous),
    row(`${largest} workers all day`, fixed),
  ]
  const share = ours.workerHours / fixed.workerHours
  return {
    title: `C10 A simulated day: ${day.length} jobs, workers of 4 slots that need 45 s to start, polled every 30 s (docs/autoscale.svg)`,
    head: [
      'who decides',
      'worker hours',
      'started',
      'stopped',
      'wait p50 s',
      'wait p95 s',
      'wait p99 s',
      'jobs interrupted',
    ],
    rows,
    verdicts: [
      { claim: 'C10', text: `no running job loses its worker (${ours.interrupted})`, holds: ours.interrupted === 0 },
      {
        claim: 'C10',
        text: `a fleet that follows the load costs ${Math.round(share * 100)} % of one that is always large enough (at most 60 %)`,
        holds: share <= 0.6,
      },
      {
        claim: 'C10',
        text: `it changes less than half as often as without memory (${ours.started + ours.stopped} to ${nervous.started + nervous.stopped})`,
        holds: (ours.started + ours.stopped) * 2 <= nervous.started + nervous.stopped,
      },
      {
        claim: 'C10',
        text: `half of the jobs start within a second, 95 % within the target of a minute`,
        holds: quantile(ours.waits, 0.5) <= 1 && quantile(ours.waits, 0.95) <= 60,
      },
    ],
    notes: [
      `seed ${seed}; the longest waits are those of the first jobs after a night without workers, and of the two bursts`,
    ],
  }
}

function row(name: string, { workerHours, started, stopped, waits, interrupted }: Outcome): string[] {
  const wait = (share: number) => quantile(waits, share).toFixed(1)
  return [
    name,
    workerHours.toFixed(1),
    String(started),
    String(stopped),
    wait(0.5),
    wait(0.95),
    wait(0.99),
    String(interrupted),
  ]
}

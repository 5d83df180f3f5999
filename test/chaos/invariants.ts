import { finalStates } from '@hivesync/contracts/jobs.ts'
import type { Accepted } from './light-worker.ts'
import type { Ledger } from './load.ts'
import type { JobRecord } from './records.ts'

/** What must hold of all that a run has left; each answers with what violates it. */
export interface Evidence {
  records: ReadonlyMap<string, JobRecord>
  ledger: Ledger
  accepted: readonly Accepted[]
}
type Invariant = (evidence: Evidence) => string[]

const isFinal = (state: string): boolean => finalStates.some((final) => final === state)

/** An invariant of each job on its own. */
const ofEach =
  (judge: (record: JobRecord) => string | undefined | false): Invariant =>
  ({ records }) =>
    [...records.values()].flatMap((record) => {
      const complaint = judge(record)
      return complaint === undefined || complaint === false
        ? []
        : [`${record.id}: ${complaint}; ${JSON.stringify(record)}`]
    })

const count = (list: readonly string[], wanted: string): number => list.filter((item) => item === wanted).length
const finalsOf = (record: JobRecord): string[] => record.events.map(({ state }) => state).filter(isFinal)

export const invariants: Readonly<Record<string, Invariant>> = {
  'every job has come to a final state': ofEach(({ state }) => !isFinal(state) && `is ${state}`),
  'a final state is the last event, and is left only by a retry': ofEach(({ events, state }) => {
    const broken = events.findIndex((event, index) => {
      const next = events[index + 1]
      return isFinal(event.state) && next !== undefined && !(next.state === 'queued' && next.reason === 'retried')
    })
    if (broken >= 0) return `goes on after its end (event ${broken})`
    return events.at(-1)?.state !== state && 'its last event says something else'
  }),
  'its events follow one another: queued, leased, running': ofEach(({ events }) => {
    const before: Record<string, readonly string[]> = {
      leased: ['queued'],
      running: ['leased'],
      queued: ['leased', 'running', ...finalStates],
    }
    // A cancel of a running job repeats its state; it moves nothing.
    const moves = events.filter(({ reason }) => reason !== 'cancel_requested')
    const wrong = moves.findIndex(({ state }, index) => {
      const last = moves[index - 1]?.state
      return last === undefined ? state !== 'queued' : before[state]?.includes(last) === false
    })
    return wrong >= 0 && `event ${wrong} does not follow from the one before`
  }),
  'each end has exactly one audit row and one message in the outbox': ofEach((record) => {
    const wrong = finalStates.find((state) => {
      const ends = count(finalsOf(record), state)
      return count(record.audits, `job.${state}`) !== ends || count(record.outbox, `job.${state}`) !== ends
    })
    return wrong !== undefined && `${wrong} is not recorded as often as it was reached`
  }),
  'submissions, retries and requests to cancel are audited once each': ofEach(({ audits, outbox, events }) => {
    const reasons = events.map(({ reason }) => reason ?? '')
    if (count(audits, 'job.submitted') !== 1 || count(outbox, 'job.submitted') !== 1)
      return 'not submitted exactly once'
    if (count(audits, 'job.retried') !== count(reasons, 'retried')) return 'retries and their audit differ'
    return (
      count(audits, 'job.cancel_requested') !== count(reasons, 'cancel_requested') && 'cancels and their audit differ'
    )
  }),
  'each claim is one attempt, under a token that only grows': ofEach(({ attempts, events }) => {
    // That a cancel was asked for is told with the state in which it was.
    const claims = events.filter(({ state, reason }) => state === 'leased' && reason !== 'cancel_requested')
    if (attempts.length !== claims.length) return 'claims and attempts differ in number'
    const began = attempts.filter(({ isStarted }) => isStarted).map(({ number }) => number)
    if (began.some((number, index) => number !== index + 1))
      return 'attempts are not numbered in the order of their tokens'
    return attempts.some(({ outcome }) => outcome === null) && 'an attempt has not ended'
  }),
  'a job that succeeded did so in exactly one attempt since it was last queued': ofEach(
    ({ state, attempts, completedToken, audits }) => {
      const won = attempts.filter(({ outcome }) => outcome === 'succeeded')
      if (won.length !== count(audits, 'job.succeeded')) return 'attempts that succeeded and successes differ'
      return state === 'succeeded' && won.at(-1)?.token !== completedToken && 'succeeded under another token'
    },
  ),
  'every accepted submission is there, and every key has one job': ({ records, ledger }) => {
    const lost = [...ledger.jobOf]
      .filter(([, jobId]) => !records.has(jobId))
      .map(([key, jobId]) => `${key}: ${jobId} is gone`)
    const strange = [...records.values()].filter(({ id, key }) => key !== null && (ledger.jobOf.get(key) ?? id) !== id)
    return [...lost, ...ledger.torn, ...strange.map(({ id, key }) => `${key} made ${id} too`)]
  },
  'every completion a worker was told was accepted has stayed so': ({ records, accepted }) =>
    accepted.flatMap((told) => {
      const attempt = records.get(told.jobId)?.attempts.find(({ token }) => token === told.token)
      return attempt?.outcome === told.outcome ? [] : [`${JSON.stringify(told)}, but ${JSON.stringify(attempt)}`]
    }),
}

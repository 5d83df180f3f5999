import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Evidence, invariants } from './invariants.ts'
import type { JobRecord } from './records.ts'

const counts = { submitted: 1, repeated: 0, full: 0, canceled: 0, retried: 0, unanswered: 0 }
const accepted = [{ token: 7, jobId: 'bee', outcome: 'succeeded', state: 'succeeded' }]

/** A job that was submitted, ran once and succeeded, with the change. */
function violatedBy(change: Partial<JobRecord>, more: Partial<Evidence> = {}): string[] {
  const record: JobRecord = {
    ...{ id: 'bee', projectId: 'comb', state: 'succeeded', key: 'key-1', completedToken: 7 },
    events: ['queued', 'leased', 'running', 'succeeded'].map((state) => ({ state, reason: null })),
    attempts: [{ token: 7, number: 1, isStarted: true, outcome: 'succeeded' }],
    audits: ['job.submitted', 'job.succeeded'],
    outbox: ['job.submitted', 'job.succeeded'],
    ...change,
  }
  const ledger = { jobOf: new Map([['key-1', 'bee']]), torn: [], counts }
  const evidence: Evidence = { records: new Map([[record.id, record]]), ledger, accepted, ...more }
  return Object.entries(invariants).flatMap(([name, invariant]) => (invariant(evidence).length > 0 ? [name] : []))
}

const states = (...names: string[]) => names.map((state) => ({ state, reason: null }))

test('a run in which all went well violates nothing', () => {
  assert.deepEqual(violatedBy({}), [])
})

test('a retry after the end is no second end', () => {
  const events = [...states('queued', 'leased', 'running', 'succeeded'), { state: 'queued', reason: 'retried' }]
  const change = { events: [...events, ...states('canceled')], state: 'canceled', completedToken: null }
  const audits = ['job.submitted', 'job.succeeded', 'job.retried', 'job.canceled']
  assert.deepEqual(violatedBy({ ...change, audits, outbox: ['job.submitted', 'job.succeeded', 'job.canceled'] }), [])
})

test('a cancel that was asked for while a claim had not begun is no second claim', () => {
  const asked = { state: 'leased', reason: 'cancel_requested' }
  const events = [...states('queued', 'leased'), asked, ...states('canceled')]
  const attempts = [{ token: 7, number: 1, isStarted: false, outcome: 'lost' }]
  const change = {
    events,
    attempts,
    state: 'canceled',
    completedToken: null,
    outbox: ['job.submitted', 'job.canceled'],
  }
  const audits = ['job.submitted', 'job.cancel_requested', 'job.canceled']
  assert.deepEqual(violatedBy({ ...change, audits }, { accepted: [] }), [])
})

test('what a crash or a race could leave is found, each by name', () => {
  const found = {
    stuck: violatedBy({ state: 'running', events: states('queued', 'leased', 'running') }),
    endedTwice: violatedBy({ events: states('queued', 'leased', 'running', 'succeeded', 'failed') }),
    unaudited: violatedBy({ audits: ['job.submitted'] }),
    sentTwice: violatedBy({ outbox: ['job.submitted', 'job.succeeded', 'job.succeeded'] }),
    staleToken: violatedBy({ completedToken: 6 }),
    twoWinners: violatedBy({
      events: states('queued', 'leased', 'queued', 'leased', 'running', 'succeeded'),
      attempts: [
        { token: 6, number: 1, isStarted: true, outcome: 'succeeded' },
        { token: 7, number: 2, isStarted: true, outcome: 'succeeded' },
      ],
    }),
    openAttempt: violatedBy({ attempts: [{ token: 7, number: 1, isStarted: true, outcome: null }] }, { accepted: [] }),
    lost: violatedBy({ id: 'wasp' }, { accepted: [] }),
    forgotten: violatedBy({}, { accepted: [{ token: 7, jobId: 'bee', outcome: 'failed', state: 'failed' }] }),
  }
  for (const [what, names] of Object.entries(found)) assert.notDeepEqual(names, [], what)
  assert.ok(found.stuck.includes('every job has come to a final state'))
  assert.ok(found.endedTwice.includes('a final state is the last event, and is left only by a retry'))
  assert.ok(found.twoWinners.includes('a job that succeeded did so in exactly one attempt since it was last queued'))
  assert.ok(found.lost.includes('every accepted submission is there, and every key has one job'))
  assert.deepEqual(found.forgotten, ['every completion a worker was told was accepted has stayed so'])
})

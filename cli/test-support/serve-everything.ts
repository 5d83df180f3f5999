import { getMe, setUp } from '@hivesync/contracts/accounts.ts'
import { createApiKey, listApiKeys, revokeApiKey, rotateApiKey } from '@hivesync/contracts/api-keys.ts'
import { listArtifacts } from '@hivesync/contracts/artifacts.ts'
import { getAuditCheckpoint, listAudit } from '@hivesync/contracts/audit.ts'
import { cancelJobs, retryJobs } from '@hivesync/contracts/bulk.ts'
import { createBundle } from '@hivesync/contracts/bundles.ts'
import { getEgress, setEgress } from '@hivesync/contracts/egress.ts'
import {
  cancelJob,
  getJob,
  listAttempts,
  listJobs,
  readLog,
  retryJob,
  submitJob,
  watchJob,
} from '@hivesync/contracts/jobs.ts'
import { createProject, getProject, listProjectMembers, listProjects } from '@hivesync/contracts/projects.ts'
import { listQueues, pauseQueues, type Queue, resumeQueues, updateQueue } from '@hivesync/contracts/queues.ts'
import {
  createSchedule,
  deleteSchedule,
  listSchedules,
  runSchedule,
  type Schedule,
  updateSchedule,
} from '@hivesync/contracts/schedules.ts'
import { searchCode } from '@hivesync/contracts/search.ts'
import { getHealth, getReadiness } from '@hivesync/contracts/service.ts'
import { logIn, logOut } from '@hivesync/contracts/sessions.ts'
import {
  createEnrolment,
  drainWorker,
  listEnrolments,
  listWorkers,
  requestKeyRotation,
  revokeEnrolment,
  revokeWorker,
} from '@hivesync/contracts/workers.ts'
import type { Peer } from '../../sdk/test-support/peer.ts'
import {
  apiKey,
  eventStream,
  idOf,
  jobOf,
  logEvent,
  newApiKey,
  project,
  tokensOf,
  user,
  worker,
} from '../../sdk/test-support/samples.ts'
import { serveIdentity } from './serve-identity.ts'
import { serveWebhooks } from './serve-webhooks.ts'

const time = '2026-01-02T03:04:05.678Z'
export const done = jobOf({
  state: 'succeeded',
  startedAt: '2026-01-02T03:04:06.000Z',
  finishedAt: '2026-01-02T03:04:08.500Z',
  attempt: 1,
  result: { exitCode: 0 },
})

const queue: Queue = {
  ...{ kind: 'ingest', projectId: project.id, waiting: 1, running: 0, maxWaiting: 10, maxRunning: null, paused: null },
}
const schedule: Schedule = {
  id: idOf(60),
  projectId: project.id,
  name: 'nightly',
  cron: '0 3 * * *',
  timeZone: 'UTC',
  missedRuns: 'skip',
  overlap: 'skip',
  submission: { kind: 'compute', input: { command: ['make'] } },
  submittedBy: user.id,
  createdAt: time,
  pausedAt: null,
  nextRunAt: time,
  nextRuns: [time],
  lastRunAt: null,
  lastJobId: null,
  lastRefusal: null,
}

/** Lets the peer answer every operation the command line calls, as a server with one project, job and worker would. */
export function serveEverything(peer: Peer): void {
  peer.on(getHealth, () => ({ status: 'ok' as const }))
  peer.on(getReadiness, () => ({ status: 'ready' as const }))
  peer.on(setUp, () => ({ user }))
  peer.on(logIn, () => ({ ...tokensOf(1), user }))
  peer.on(logOut, () => undefined)
  peer.on(getMe, () => user)
  peer.on(listProjects, () => ({ items: [project], nextCursor: null }))
  peer.on(createProject, ({ body }) => ({ ...project, name: body.name }))
  peer.on(getProject, () => project)
  peer.on(listProjectMembers, () => ({
    items: [{ userId: user.id, username: 'ada', role: 'owner' as const, createdAt: time }],
    nextCursor: null,
  }))
  peer.on(submitJob, ({ body }) => jobOf({ kind: body.kind, input: body.input }))
  peer.on(listJobs, () => ({ items: [done], nextCursor: null }))
  peer.on(getJob, () => done)
  peer.on(cancelJob, () => jobOf({ state: 'canceled' }))
  peer.on(retryJob, () => jobOf())
  peer.on(retryJobs, () => ({ retried: 2, refused: [], remaining: 0 }))
  peer.on(cancelJobs, () => ({ canceled: 2, asked: 1, refused: [], remaining: 0 }))
  peer.on(updateQueue, ({ params }) => ({ ...queue, kind: params.kind }))
  const pause = { by: 'admin' as const, since: time, reason: 'upgrade' }
  peer.on(pauseQueues, ({ params }) => ({ kind: params.name, paused: pause }))
  peer.on(resumeQueues, ({ params }) => ({ kind: params.name, paused: null }))
  peer.on(listSchedules, () => ({ items: [schedule], nextCursor: null }))
  peer.on(createSchedule, ({ body }) => ({ ...schedule, name: body.name }))
  peer.on(updateSchedule, () => schedule)
  peer.on(deleteSchedule, () => undefined)
  peer.on(runSchedule, () => jobOf())
  peer.on(getEgress, () => ({ hosts: [] }))
  peer.on(setEgress, ({ body }) => ({ hosts: body.hosts }))
  peer.on(listQueues, () => ({
    items: [queue],
    nextCursor: null,
  }))
  peer.on(listAttempts, () => ({
    items: [
      {
        number: 1,
        workerId: worker.id,
        workerName: 'laptop',
        claimedAt: time,
        startedAt: time,
        endedAt: time,
        outcome: 'succeeded' as const,
        error: null,
        phases: [{ phase: 'fetch', startedAt: time, endedAt: time }],
        receipt: null,
        receiptVerified: false,
      },
    ],
    nextCursor: null,
  }))
  peer.on(listArtifacts, () => ({ items: [], nextCursor: null }))
  peer.onRaw(createBundle, (request, response) => {
    request.resume().on('end', () => {
      const counts = { bytes: 10, unpackedBytes: 1024, entries: 1, sha256: '0'.repeat(64) }
      const bundle = { id: idOf(8), projectId: project.id, ...counts, createdAt: time, expiresAt: time }
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(bundle))
    })
  })
  peer.on(readLog, ({ query }) => {
    const line = { seq: 0, attempt: 1, stream: 'stdout' as const, at: time, text: 'hello\n' }
    return { items: query.after === undefined ? [line] : [], nextSeq: 1 }
  })
  serveEvents(peer, [['state', { state: 'running' }], logEvent(0, 'stdout', 'hello\n')])
  peer.on(searchCode, () => ({
    items: [
      { projectId: project.id, path: 'src/a.ts', line: 7, excerpt: '  const Needle = 1', language: 'TypeScript' },
    ],
    nextCursor: null,
  }))
  peer.on(createApiKey, ({ body }) => ({ ...newApiKey, name: body.name }))
  peer.on(listApiKeys, () => ({ items: [apiKey], nextCursor: null }))
  peer.on(rotateApiKey, () => newApiKey)
  peer.on(revokeApiKey, () => undefined)
  peer.on(createEnrolment, () => ({ id: idOf(7), enrolmentToken: 'hse_token', expiresAt: time }))
  const enrolment = {
    id: idOf(7),
    name: 'swarm',
    teamId: null,
    state: 'usable' as const,
    pool: 'swarm',
    ephemeral: true,
  }
  const uses = {
    maxUses: 500,
    uses: 3,
    workers: 2,
    createdAt: time,
    expiresAt: time,
    lastUsedAt: time,
    revokedAt: null,
  }
  peer.on(listEnrolments, () => ({ items: [{ ...enrolment, ...uses }], nextCursor: null }))
  peer.on(revokeEnrolment, ({ params }) => ({ id: params.enrolmentId, revokedWorkers: 2 }))
  peer.on(listWorkers, () => ({ items: [worker], nextCursor: null }))
  peer.on(requestKeyRotation, () => ({ ...worker, keyExpiresAt: '2026-01-09T03:04:05.678Z' }))
  peer.on(drainWorker, () => ({ ...worker, state: 'draining' as const }))
  peer.on(revokeWorker, () => undefined)
  serveAudit(peer)
  serveWebhooks(peer)
  serveIdentity(peer)
}

/** The events of the job, then its end. */
export function serveEvents(peer: Peer, events: readonly (readonly [string, unknown])[]): void {
  peer.onRaw(watchJob, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(eventStream([...events, ['end', { state: 'succeeded' }]]))
  })
}

function serveAudit(peer: Peer): void {
  const act = {
    action: 'thing.made',
    outcome: 'refused' as const,
    target: { kind: 'thing', id: 't-1' },
    details: { count: 2 },
  }
  const context = { teamId: null, projectId: null, requestId: null, ip: null }
  const event = { id: idOf(90), at: time, actor: { kind: 'user', id: user.id }, ...act, ...context }
  peer.on(listAudit, () => ({ items: [event], nextCursor: null }))
  const note = 'hive.test/audit\n1\nAAAA\n\n— hive.test/audit AAAA\n'
  const keys = ['hive.test/audit+00000000+AAAA']
  peer.on(getAuditCheckpoint, () => ({ origin: 'hive.test/audit', size: 1, root: 'AAAA', at: time, note, keys }))
}

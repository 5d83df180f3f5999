import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Clock } from '../clock.ts'
import type { Digest, Random } from '../enrol/random.ts'
import type { Logger } from '../logger.ts'
import { type JobLog, openJobLog } from '../report/job-log.ts'
import type { Lease, Leases } from '../report/leases.ts'
import type { Completion, Outbox } from '../report/outbox.ts'
import { isLeaseLost, persist } from '../report/persistence.ts'
import { openProgress, type Progress } from '../report/progress.ts'
import type { ServerClient } from '../report/server-client.ts'
import type { Sandbox } from '../sandbox/spec.ts'
import { runCompute } from './compute.ts'
import { type IngestPolicy, runIngest } from './ingest.ts'
import type { NodeMount } from './node-mount.ts'

export interface JobRunner {
  client: ServerClient
  leases: Leases
  outbox: Outbox
  clock: Clock
  random: Random
  log: Logger
  createDigest: () => Digest
  ingest: IngestPolicy
  /** What jobs run in; undefined on a machine that cannot isolate them: then they go back unstarted. */
  findSandbox: () => { sandbox: Sandbox; nodeMount: NodeMount | undefined } | undefined
}

/**
 * Takes a claimed job to its end: start, run, and a completion in the outbox (none when the lease was lost: then whatever
 * was done is forgotten). Never rejects; when it resolves nothing of the job runs any more.
 */
export async function runJob(runner: JobRunner, claim: Claim): Promise<void> {
  const { leases, log, clock } = runner
  const { token, jobId, kind, attempt } = claim
  if (leases.find(token) !== undefined) return log.error('job_repeated', { token, jobId })
  const lease = leases.hold(claim)
  const startedAtMs = clock.monotonicMs()
  try {
    const place = runner.findSandbox()
    if (place === undefined) {
      log.error('job_refused', { token, jobId, kind, reason: 'this machine has no working sandbox' })
      await runner.outbox.put({ token, jobId, completion: returned('no_sandbox'), chunks: [] })
      return
    }
    if (!(await startLease(runner, lease))) return
    log.info('job_started', { token, jobId, kind, attempt })
    await runStarted(runner, lease, place)
    log.info('job_ended', { token, jobId, durationMs: Math.round(clock.monotonicMs() - startedAtMs) })
  } catch (error) {
    log.error('job_not_recorded', { token, jobId }, error)
  } finally {
    lease.release()
  }
}

/** Whether the server let us begin; if not in time, the lease goes back by itself and costs no attempt. */
async function startLease(runner: JobRunner, lease: Lease): Promise<boolean> {
  const { client, clock, log } = runner
  const { token, jobId, startWithinSeconds } = lease.claim
  const begun = new AbortController()
  const late = new AbortController()
  void clock.wait(startWithinSeconds * 1000, begun.signal).then(() => late.abort(new Error('not started in time')))
  const signal = AbortSignal.any([lease.signal, late.signal])
  try {
    await persist(
      async () => {
        const sentAtMs = clock.monotonicMs()
        await client.startLease(token, { signal })
        lease.confirm(sentAtMs)
      },
      { ...runner, signal },
    )
    return true
  } catch (error) {
    log.warn('job_not_started', { token, jobId, reason: isLeaseLost(error) ? 'lease lost' : String(error) })
    return false
  } finally {
    begun.abort()
  }
}

async function runStarted(runner: JobRunner, lease: Lease, place: Place): Promise<void> {
  const { token, jobId } = lease.claim
  const reporting = { ...runner, lease }
  const jobLog = openJobLog(reporting)
  const progress = openProgress(reporting)
  const completion = await runToEnd(runner, lease, place, jobLog, progress)
  const chunks = await jobLog.close()
  // Whoever holds the lease now will say how the job ends.
  if (lease.stopReason === 'lost') {
    await progress.close()
    return
  }
  await runner.outbox.put({ token, jobId, completion, chunks }, () => progress.close())
}

type Place = NonNullable<ReturnType<JobRunner['findSandbox']>>

async function runToEnd(
  runner: JobRunner,
  lease: Lease,
  place: Place,
  jobLog: JobLog,
  progress: Progress,
): Promise<Completion> {
  try {
    const completion = await runKind(runner, lease, place, jobLog, progress)
    // Fenced or returned in the very moment it ended by itself: that end is the truth, if the server still wants it.
    const endedByItself = completion.error?.code !== 'limit_canceled' && lease.stopReason !== 'canceled'
    return lease.stopReason === undefined || endedByItself ? completion : stopped(lease, completion)
  } catch (error) {
    if (isLeaseLost(error)) lease.stop('lost')
    if (lease.stopReason !== undefined) return stopped(lease)
    runner.log.error('job_broke', { token: lease.claim.token, jobId: lease.claim.jobId }, error)
    jobLog.note('The worker could not run this job.')
    const failure = { code: 'worker_failed', message: 'The worker could not run the job.' }
    return { outcome: 'failed', error: failure, infrastructure: true }
  }
}

async function runKind(
  runner: JobRunner,
  lease: Lease,
  { sandbox, nodeMount }: Place,
  jobLog: JobLog,
  progress: Progress,
): Promise<Completion> {
  const { client, log } = runner
  const { token, jobId, projectId, kind, input } = lease.claim
  const { signal } = lease
  if (kind === 'compute') {
    progress.report({ phase: 'run' })
    return await runCompute({ sandbox, nodeMount, input, jobLog, signal, createDigest: runner.createDigest })
  }
  const upload: Parameters<typeof runIngest>[0]['upload'] = (batch, files) =>
    persist(() => client.uploadIndex(token, { batch, files }, { signal }), { ...runner, signal })
  return await runIngest({
    sandbox,
    projectId,
    jobId,
    input,
    policy: runner.ingest,
    upload,
    progress,
    jobLog,
    log,
    signal,
  })
}

/** The completion of a job that had to stop before its end; what it measured until then is kept. */
function stopped(lease: Lease, completion?: Completion): Completion {
  const receipt = completion?.receipt
  const measured = receipt === undefined ? {} : { receipt }
  if (lease.stopReason === 'canceled') {
    return { outcome: 'canceled', error: { code: 'canceled', message: 'The job was canceled.' }, ...measured }
  }
  return { ...returned(lease.stopReason === 'fenced' ? 'server_silent' : 'worker_stopping'), ...measured }
}

const returnMessages = {
  no_sandbox: 'The worker has no working sandbox.',
  server_silent: 'The worker lost its connection to the server.',
  worker_stopping: 'The worker was stopped.',
}

function returned(code: keyof typeof returnMessages): Completion {
  return { outcome: 'returned', infrastructure: true, error: { code, message: returnMessages[code] } }
}

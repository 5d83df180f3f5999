import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import type { Clock } from '../clock.ts'
import type { Digest, Random } from '../enrol/random.ts'
import type { EgressDecision } from '../fetch/egress-proxy.ts'
import { countEgressRefusals, type EgressRefusals } from '../fetch/egress-refusals.ts'
import { makeJobFolder, makeOutputFolder, outputFolder, removeFolder } from '../job-folder.ts'
import { type Logger, withRequest } from '../logger.ts'
import { type JobLog, openJobLog } from '../report/job-log.ts'
import type { Lease, Leases } from '../report/leases.ts'
import type { Completion, Outbox } from '../report/outbox.ts'
import { isLeaseLost, persist } from '../report/persistence.ts'
import { openProgress, type Progress } from '../report/progress.ts'
import { redactCompletion } from '../report/redact-completion.ts'
import { createRedactor } from '../report/redactor.ts'
import { secretsOf } from '../report/secret-values.ts'
import type { ServerClient } from '../report/server-client.ts'
import { downloadBundle } from '../report/transfer.ts'
import type { Sandbox } from '../sandbox/spec.ts'
import { type ComputeEnd, runCompute } from './compute.ts'
import { type IngestPolicy, runIngest } from './ingest.ts'
import type { NodeMount } from './node-mount.ts'
import { findNpm } from './npm.ts'
import { openRunRecord, type RunRecord } from './run-record.ts'

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
export async function runJob(options: JobRunner, claim: Claim): Promise<void> {
  const runner = { ...options, log: withRequest(options.log, claim.requestId) }
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
  const { dataDir } = runner.ingest
  const redactor = createRedactor(secretsOf(lease.claim))
  const reporting = { ...runner, lease, redactor }
  const jobLog = openJobLog(reporting)
  const progress = openProgress(reporting)
  const record = openRunRecord(place.sandbox, 'run')
  const refusals = countEgressRefusals()
  const { completion, outputs } = await runToEnd(runner, { lease, place, jobLog, progress, record, refusals })
  const text = refusals.text()
  if (text !== undefined) jobLog.note(text)
  // Whoever holds the lease now will say how the job ends, and with which files.
  const isKept = outputs.length > 0 && lease.stopReason !== 'lost' && completion.outcome !== 'returned'
  if (isKept) {
    progress.report({ phase: 'upload' })
    // Also so that the log has an end that is still to be sent, behind which a word about these files may stand.
    jobLog.note(`handing over ${outputs.length} ${outputs.length === 1 ? 'file' : 'files'} of /job/out`)
  } else await removeFolder(outputFolder(dataDir, token))
  const chunks = await jobLog.close()
  if (lease.stopReason === 'lost') {
    await removeFolder(outputFolder(dataDir, token))
    await progress.close()
    return
  }
  const egressRefused = refusals.list()
  const measured: Completion = {
    ...redactCompletion(redactor, completion),
    ...receiptOf(runner, lease, record),
    ...(egressRefused.length > 0 && { egressRefused }),
  }
  const kept = isKept ? { outputs } : {}
  await runner.outbox.put({ token, jobId, completion: measured, chunks, ...kept }, () => progress.close())
}

/** What limited the job, to be signed when it is sent; nothing when nothing of it ran. */
function receiptOf({ clock }: JobRunner, { claim }: Lease, record: RunRecord): Pick<Completion, 'receipt'> {
  const summary = record.summary()
  if (summary === undefined) return {}
  const { jobId, token, attempt, kind } = claim
  const finishedAt = new Date(clock.nowMs()).toISOString()
  return { receipt: { version: 1, jobId, token, attempt, kind, finishedAt, ...summary } }
}

type Place = NonNullable<ReturnType<JobRunner['findSandbox']>>

interface Run {
  lease: Lease
  place: Place
  jobLog: JobLog
  progress: Progress
  record: RunRecord
  refusals: EgressRefusals
}

async function runToEnd(runner: JobRunner, run: Run): Promise<ComputeEnd> {
  const { lease, jobLog } = run
  const { token, jobId } = lease.claim
  const folder = await makeJobFolder(runner.ingest.dataDir, token)
  try {
    const end = await runKind(runner, run, folder)
    // Fenced or returned in the very moment it ended by itself: that end is the truth, if the server still wants it.
    const endedByItself = end.completion.error?.code !== 'limit_canceled' && lease.stopReason !== 'canceled'
    return lease.stopReason === undefined || endedByItself ? end : { completion: stopped(lease), outputs: [] }
  } catch (error) {
    if (isLeaseLost(error)) lease.stop('lost')
    if (lease.stopReason !== undefined) return { completion: stopped(lease), outputs: [] }
    runner.log.error('job_broke', { token, jobId }, error)
    jobLog.note('The worker could not run this job.')
    const failure = { code: 'worker_failed', message: 'The worker could not run the job.' }
    return { completion: { outcome: 'failed', error: failure, infrastructure: true }, outputs: [] }
  } finally {
    await removeFolder(folder)
  }
}

async function runKind(runner: JobRunner, run: Run, folder: string): Promise<ComputeEnd> {
  const { client, log, clock, random, createDigest, ingest } = runner
  const { lease, place, jobLog, progress, record, refusals } = run
  const { token, jobId, projectId, kind, input } = lease.claim
  const { signal } = lease
  const onEgress = (decision: EgressDecision): void => {
    const { host, port, allowed, reason } = decision
    log.info('egress', { jobId, name: host, port, outcome: allowed ? 'allowed' : 'refused', reason })
    refusals.note(decision)
  }
  if (kind === 'compute') {
    const { allowHosts, settings } = ingest
    return await runCompute({
      ...{ claim: lease.claim, record, nodeMount: place.nodeMount, jobLog, createDigest, signal, folder, onEgress },
      findNpm: () => findNpm(place.sandbox.node),
      network: { allowHosts, privateHosts: settings.privateHosts, ...(settings.caFile && { caFile: settings.caFile }) },
      outputFolder: await makeOutputFolder(ingest.dataDir, token),
      fetchBundle: (bundle, into) =>
        downloadBundle(client, token, bundle, { folder: into, createDigest, clock, random, signal }),
      onPhase: (phase) => progress.report({ phase }),
    })
  }
  const upload: Parameters<typeof runIngest>[0]['upload'] = (batch, files) =>
    persist(() => client.uploadIndex(token, { batch, files }, { signal }), { ...runner, signal })
  const completion = await runIngest({
    ...{ record, projectId, jobId, input, upload, progress, jobLog, log, signal, onEgress },
    policy: ingest,
  })
  return { completion, outputs: [] }
}

/** The completion of a job that had to stop before its end. */
function stopped(lease: Lease): Completion {
  if (lease.stopReason === 'canceled') {
    return { outcome: 'canceled', error: { code: 'canceled', message: 'The job was canceled.' } }
  }
  return returned(lease.stopReason === 'fenced' ? 'server_silent' : 'worker_stopping')
}

const returnMessages = {
  no_sandbox: 'The worker has no working sandbox.',
  server_silent: 'The worker lost its connection to the server.',
  worker_stopping: 'The worker was stopped.',
}

function returned(code: keyof typeof returnMessages): Completion {
  return { outcome: 'returned', infrastructure: true, error: { code, message: returnMessages[code] } }
}

import { RepositoryRefused } from '@hivesync/contracts/repository-url.ts'
import type { Sandbox } from '../sandbox/spec.ts'
import { defaultEgressLimits, type EgressDecision, type EgressProxy, openEgressProxy } from './egress-proxy.ts'
import { FetchFailed } from './fetch-failed.ts'
import { findProxyRefusal, type ProxyRefusal } from './git-failure.ts'
import { gitLimits, type IngestSettings } from './ingest-settings.ts'
import { type FetchedCommit, type FetchOptions, fetchMirror, resolveRef } from './mirror.ts'
import { type MirrorFolder, withMirrorFolder } from './mirror-folder.ts'
import { MirrorBusy } from './mirror-lock.ts'
import { type FileBatch, MirrorDamaged, type ReadTotals, readTree, type TreeReading } from './read-files.ts'
import type { WantedRef } from './remote-refs.ts'
import { type AllowedRepository, judgeRepository } from './repository-policy.ts'

export interface IngestProgress {
  phase: 'resolve' | 'fetch' | 'read' | 'index'
  /** Of the phase, rising; no phase and no percent is reported twice. */
  percent: number
  message: string
}

export interface IngestOptions {
  sandbox: Sandbox
  projectId: string
  /** As submitted. */
  repository: string
  /** A branch, a tag or a full commit id; the default branch when absent. */
  ref?: string
  dataDir: string
  settings: IngestSettings
  onProgress: (progress: IngestProgress) => void
  /** At most ~1 MiB of text at a time; the next batch is read once this one's promise is fulfilled. */
  onFiles: (batch: FileBatch) => Promise<void>
  /** Every decision of the egress proxy, for the log. */
  onEgress?: (decision: EgressDecision) => void
  /** The system resolver when absent. */
  resolve?: (host: string) => Promise<readonly string[]>
  signal?: AbortSignal
}

export interface IngestResult extends ReadTotals {
  commit: string
  /** null when a tag or a commit was asked for. */
  branch: string | null
  changed: boolean
}

/**
 * Fetches a repository into the project's mirror and hands over the text of its files. Everything git does happens in a
 * sandbox whose only way out leads to the repository's host. Throws FetchFailed, or the signal's reason when aborted;
 * batches already handed over are then to be dropped. Holds one sandbox slot at a time.
 */
export async function ingestRepository(call: IngestOptions): Promise<IngestResult> {
  const options = { ...call, onProgress: onlyForward(call.onProgress) }
  const { settings, onProgress } = options
  onProgress({ phase: 'resolve', percent: 0, message: 'Asking the repository for its branches' })
  const repository = await requireAllowed(options.repository, settings)
  let refusal: ProxyRefusal | undefined
  const proxy = await openProxy(options, repository, (decision) => {
    options.onEgress?.(decision)
    refusal = findProxyRefusal(decision) ?? refusal
  })
  try {
    const fetching: FetchOptions = {
      sandbox: options.sandbox,
      repository,
      settings,
      findProxyRefusal: () => refusal,
      onProgress: (percent, message) => onProgress({ phase: 'fetch', percent, message }),
      ...(proxy && { egressSocket: proxy.socketPath }),
      ...(options.signal && { signal: options.signal }),
    }
    const wanted = await resolveRef(fetching, options.ref)
    onProgress({ phase: 'resolve', percent: 100, message: 'Found the commit to ingest' })
    return await withMirrorFolder(options, (folder) => fetchAndRead(options, fetching, folder, wanted))
  } catch (error) {
    if (error instanceof MirrorBusy) throw new FetchFailed('fetch_failed', { detail: error.message, cause: error })
    throw error
  } finally {
    await proxy?.close()
  }
}

/** A mirror cloned afresh goes through its phases again; whoever watches sees the bar wait, not jump back. */
function onlyForward(report: (progress: IngestProgress) => void): (progress: IngestProgress) => void {
  let reached = -1
  return (progress) => {
    const place = ['resolve', 'fetch', 'read', 'index'].indexOf(progress.phase) * 101 + progress.percent
    if (place <= reached) return
    reached = place
    report(progress)
  }
}

async function requireAllowed(text: string, settings: IngestSettings): Promise<AllowedRepository> {
  try {
    return await judgeRepository(text, settings)
  } catch (error) {
    if (!(error instanceof RepositoryRefused)) throw error
    const isAddress = error.code === 'host_not_allowed' || error.code === 'address_not_public'
    const code = error.code === 'local_not_found' ? 'repository_not_found' : 'repository_refused'
    throw new FetchFailed(isAddress ? 'host_refused' : code, {
      message: error.message,
      detail: error.code,
      cause: error,
    })
  }
}

async function openProxy(
  options: IngestOptions,
  repository: AllowedRepository,
  onDecision: (decision: EgressDecision) => void,
): Promise<EgressProxy | undefined> {
  if (repository.kind !== 'https') return undefined
  const { settings, resolve } = options
  return await openEgressProxy({
    allow: [{ host: repository.host, port: repository.port }],
    privateHosts: settings.privateHosts,
    requireTls: true,
    onDecision,
    ...(resolve && { resolve }),
    limits: {
      ...defaultEgressLimits,
      maxBytesDown: settings.maxMirrorBytes,
      idleMs: settings.stallSeconds * 1000,
      tunnelMs: settings.fetchTimeoutMs,
    },
  })
}

async function fetchAndRead(
  options: IngestOptions,
  fetching: FetchOptions,
  folder: MirrorFolder,
  wanted: WantedRef,
): Promise<IngestResult> {
  options.onProgress({ phase: 'fetch', percent: 0, message: 'Fetching' })
  for (let attempt = 1; ; attempt += 1) {
    const fetched = await fetchMirror(fetching, folder, wanted)
    let batches = 0
    const onFiles = (batch: FileBatch) => {
      batches += 1
      return options.onFiles(batch)
    }
    try {
      const reading = await openReading(options, folder, fetched)
      await handOver({ ...options, onFiles }, reading)
      return { ...fetched, ...reading.totals }
    } catch (error) {
      if (!(error instanceof MirrorDamaged)) throw error
      await folder.discard(folder.repository)
      // Batches that are out cannot be taken back: then the job's next attempt begins anew.
      if (attempt === 1 && batches === 0) continue
      throw new FetchFailed('fetch_failed', { detail: `mirror damaged: ${error.message}`, cause: error })
    }
  }
}

async function openReading(options: IngestOptions, folder: MirrorFolder, fetched: FetchedCommit): Promise<TreeReading> {
  const { settings, onProgress } = options
  onProgress({ phase: 'fetch', percent: 100, message: 'Fetched' })
  onProgress({ phase: 'read', percent: 0, message: 'Listing the files' })
  const reading = await readTree({
    sandbox: options.sandbox,
    mirrorPath: folder.repository,
    commit: fetched.commit,
    readLimits: settings,
    limits: gitLimits(settings, { wallMs: settings.readTimeoutMs }),
    ...(options.signal && { signal: options.signal }),
  })
  onProgress({ phase: 'read', percent: 100, message: `Listed ${reading.listed} files` })
  return reading
}

async function handOver(options: IngestOptions, reading: TreeReading): Promise<void> {
  const { onProgress } = options
  let handed = 0
  let reported = -1
  for await (const batch of reading.batches) {
    options.signal?.throwIfAborted()
    await options.onFiles(batch)
    handed += batch.length
    const percent = Math.floor((100 * handed) / Math.max(reading.listed, 1))
    if (percent > reported) onProgress({ phase: 'index', percent, message: `${handed} of ${reading.listed} files` })
    reported = Math.max(reported, percent)
  }
  if (reported < 100) onProgress({ phase: 'index', percent: 100, message: `${handed} files` })
}

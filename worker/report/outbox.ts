import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import type { completeLease, LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import type { Clock } from '../clock.ts'
import { draftSuffix, writeDurably } from '../durable-file.ts'
import type { Random } from '../enrol/random.ts'
import { outputFolder, removeFolder, sweepJobFolders } from '../job-folder.ts'
import type { Logger } from '../logger.ts'
import { sendLogBatch } from './log-delivery.ts'
import { deliverOutputs, type WaitingOutput } from './output-delivery.ts'
import { isLeaseLost, persist } from './persistence.ts'
import type { ServerClient } from './server-client.ts'
import type { TransferOptions } from './transfer.ts'

export type Completion = BodyOf<typeof completeLease>

/** How one attempt ended, and the end of its log that the server does not have yet. */
export interface OutboxRecord {
  token: number
  jobId: string
  completion: Completion
  chunks: LogChunk[]
  /** Files of its result that the server does not have yet; they lie in the attempt's output folder. */
  outputs?: WaitingOutput[]
}

export interface Outbox {
  /**
   * Once fulfilled the completion survives any crash (the log says so when the disk refused it) and will be delivered;
   * `before` runs first and its failure changes nothing.
   */
  put(record: OutboxRecord, before?: () => Promise<void>): Promise<void>
  /** Of completions not acknowledged yet. */
  tokens(): number[]
  readonly size: number
  /** Resolves when everything is delivered, or when the signal aborts. */
  drained(signal: AbortSignal): Promise<void>
  /** Stops delivering; what is left stays on disk for the next start. */
  close(): Promise<void>
}

/** The server brings the index of an ingest to its disk before it answers. */
const completeTimeoutMs = 300_000
/** The longest log a job can leave unsent (5 MiB, as JSON six times that if it is all control characters) and a completion (256 KiB). */
const maxRecordBytes = 32 * 1024 * 1024

/**
 * Keeps completions on disk until the server has acknowledged them (or says the lease is lost, which ends it as well) and
 * delivers those a former run has left behind. The log goes first, then the job's files, then the completion.
 */
export async function openOutbox(options: {
  dataDir: string
  client: ServerClient
  clock: Clock
  random: Random
  log: Logger
  onDelivered?: () => void
}): Promise<Outbox> {
  const { client, log } = options
  const folder = join(options.dataDir, 'outbox')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const pathOf = (token: number) => join(folder, `${token}.json`)
  const closing = new AbortController()
  const deliveries = new Map<number, Promise<void>>()

  async function deliver(record: OutboxRecord, before?: () => Promise<void>): Promise<void> {
    const { token, jobId } = record
    const retrying = {
      ...options,
      signal: closing.signal,
      onSetback: (error: unknown) => log.warn('completion_not_sent', { token, jobId, reason: String(error) }),
    }
    await before?.().catch((error: unknown) => log.error('outbox_failed', { token, jobId }, error))
    try {
      await deliverLog(record, retrying)
      const completion = withSoundReceipt(await deliverFiles(record, retrying), jobId)
      const call = { signal: closing.signal, timeoutMs: completeTimeoutMs }
      await persist(() => client.completeLease(token, completion, call), retrying)
      log.info('job_completed', { token, jobId, outcome: completion.outcome, code: completion.error?.code ?? null })
    } catch (error) {
      if (closing.signal.aborted) return
      // Refused for good: sending it again would be refused again, and the lease runs out by itself.
      if (isLeaseLost(error)) log.warn('completion_too_late', { token, jobId })
      else log.error('completion_refused', { token, jobId }, error)
    }
    await removeFolder(outputFolder(options.dataDir, token))
    await rm(pathOf(token), { force: true })
  }

  /** The completion as it is from now on, whatever happens: sent twice, it must be the same both times. */
  async function deliverFiles(record: OutboxRecord, retrying: TransferOptions): Promise<Completion> {
    const completion = await deliverOutputs(record, { ...options, ...retrying })
    if (completion === record.completion) return completion
    const { token, jobId } = record
    await writeDurably(pathOf(token), encodeRecord({ token, jobId, completion, chunks: [] }, log))
    return completion
  }

  /** The end of a job matters more than its receipt: without one the server shows it as not verified. */
  function withSoundReceipt(completion: Completion, jobId: string): Completion {
    const { receipt, ...rest } = completion
    if (receipt === undefined) return completion
    try {
      client.checkReceipt(receipt)
      return completion
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      log.error('receipt_not_signed', { jobId }, error)
      return rest
    }
  }

  async function deliverLog(record: OutboxRecord, retrying: Parameters<typeof persist>[1]): Promise<void> {
    const { token, jobId } = record
    try {
      for (let left = record.chunks; left.length > 0; ) {
        const unsent = left
        left = (await persist(() => sendLogBatch(client, token, unsent, { signal: closing.signal }), retrying)).left
      }
    } catch (error) {
      if (closing.signal.aborted || isLeaseLost(error)) throw error
      // Without its completion the job would run again, for the sake of a few lines the server does not want.
      log.warn('log_refused', { token, jobId, reason: String(error) })
    }
  }

  function start(record: OutboxRecord, before?: () => Promise<void>): void {
    const delivery = deliver(record, before)
      .catch((error: unknown) => log.error('outbox_failed', { token: record.token }, error))
      .finally(() => {
        deliveries.delete(record.token)
        options.onDelivered?.()
      })
    deliveries.set(record.token, delivery)
  }

  const found = await readRecords(folder, log)
  await sweepJobFolders(
    options.dataDir,
    found.map(({ token }) => token),
  )
  for (const record of found) {
    log.info('completion_found', { token: record.token, jobId: record.jobId })
    start(record)
  }
  return {
    async put(record, before) {
      try {
        await writeDurably(pathOf(record.token), encodeRecord(record, log))
      } catch (error) {
        // A full disk: most likely the server is there all the same, and only a crash right now loses this end.
        log.error('completion_not_stored', { token: record.token, jobId: record.jobId }, error)
      }
      start(record, before)
    },
    tokens: () => [...deliveries.keys()],
    get size() {
      return deliveries.size
    },
    async drained(signal) {
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve()
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      while (deliveries.size > 0 && !signal.aborted) await Promise.race([Promise.all(deliveries.values()), aborted])
    },
    async close() {
      closing.abort(new Error('the worker is stopping'))
      await Promise.all(deliveries.values())
    },
  }
}

function encodeRecord(record: OutboxRecord, log: Logger): string {
  const text = JSON.stringify(record)
  if (Buffer.byteLength(text) <= maxRecordBytes) return text
  log.warn('log_not_kept', { token: record.token, jobId: record.jobId, bytes: Buffer.byteLength(text) })
  return JSON.stringify({ ...record, chunks: [] })
}

async function readRecords(folder: string, log: Logger): Promise<OutboxRecord[]> {
  const records: OutboxRecord[] = []
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name)
    const token = /^([1-9][0-9]{0,15})\.json$/.exec(name)?.[1]
    const record = token === undefined ? undefined : await readRecord(path, Number(token))
    if (record !== undefined) records.push(record)
    else {
      if (!name.endsWith(draftSuffix)) log.error('outbox_record_damaged', { name })
      await rm(path, { recursive: true, force: true })
    }
  }
  return records
}

async function readRecord(path: string, token: number): Promise<OutboxRecord | undefined> {
  if ((await stat(path)).size > maxRecordBytes) return undefined
  try {
    const record = JSON.parse(await readFile(path, 'utf8')) as Partial<OutboxRecord>
    const { jobId, completion, chunks, outputs = [] } = record
    if (record.token !== token || typeof jobId !== 'string' || !Array.isArray(chunks)) return undefined
    if (typeof completion !== 'object' || completion === null) return undefined
    // Their names lead to files that are sent away.
    if (!Array.isArray(outputs) || !outputs.every(({ name }) => /^[1-9][0-9]{0,5}$/.test(name))) return undefined
    return { token, jobId, completion, chunks, ...(outputs.length > 0 && { outputs }) }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

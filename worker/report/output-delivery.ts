import { join } from 'node:path'
import { outputFolder } from '../job-folder.ts'
import type { Logger } from '../logger.ts'
import { sendLogBatch } from './log-delivery.ts'
import type { Completion, OutboxRecord } from './outbox.ts'
import { isLeaseLost, persist } from './persistence.ts'
import type { ServerClient } from './server-client.ts'
import { CallRefused } from './signed-call.ts'
import { type TransferOptions, uploadArtifacts } from './transfer.ts'

/** A file that a job left behind: in its result it is called `path`, in the spool by a number of ours. */
export interface WaitingOutput {
  path: string
  bytes: number
  sha256: string
  name: string
}

/**
 * Hands a job's files to the server and answers the completion that says where each is. Files that the server refuses for good (a full store, say)
 * change nothing about how the job ended: its result and its log say that they are not stored, and why. Throws `lease_lost`, and the signal's reason.
 */
export async function deliverOutputs(
  record: OutboxRecord,
  options: TransferOptions & { client: ServerClient; dataDir: string; log: Logger },
): Promise<Completion> {
  const { token, jobId, completion, outputs = [] } = record
  if (outputs.length === 0) return completion
  const { client, dataDir, log, signal } = options
  const folder = outputFolder(dataDir, token)
  const files = outputs.map(({ name, ...file }) => ({ ...file, file: join(folder, name) }))
  try {
    const ids = await uploadArtifacts(client, token, files, options)
    return tellOutputs(completion, (index) => ({ artifactId: ids.get(outputs[index]?.path ?? '') }))
  } catch (error) {
    if (signal.aborted || isLeaseLost(error)) throw error
    const reason = error instanceof CallRefused ? error.code : 'worker_disk'
    log.error('outputs_not_stored', { token, jobId, code: reason, count: outputs.length }, error)
    await tellLog(record, `the files of /job/out are not stored: ${explain(reason)}`, options)
    return tellOutputs(completion, () => ({ stored: false, reason }))
  }
}

function tellOutputs(completion: Completion, more: (index: number) => object): Completion {
  const listed: unknown = completion.result?.outputs
  if (!Array.isArray(listed)) return completion
  // As they were listed: what the result calls a file may have had a secret cut out of it.
  const outputs = listed.map((file: object, index) => ({ ...file, ...more(index) }))
  return { ...completion, result: { ...completion.result, outputs } }
}

function explain(code: string): string {
  if (code === 'storage_full') return "the team's storage is full (storage_full)"
  if (code === 'worker_disk') return 'this worker could not read them (worker_disk)'
  return `the server refused them (${code})`
}

/** One line behind the last of the log, which the caller has delivered. */
async function tellLog(
  { token, chunks }: OutboxRecord,
  text: string,
  options: TransferOptions & { client: ServerClient },
): Promise<void> {
  const last = chunks.at(-1)
  if (last === undefined) return // the server keeps no more of this log
  const { client, clock, signal } = options
  const line = { seq: last.seq + 1, stream: 'system', at: clock.nowMs(), text: `[hivesync] ${text}\n` } as const
  await persist(() => sendLogBatch(client, token, [line], { signal }), options)
}

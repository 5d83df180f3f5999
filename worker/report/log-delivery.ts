import type { LogChunk } from '@hivesync/contracts/worker-protocol.ts'
import type { ServerClient } from './server-client.ts'
import type { CallOptions } from './signed-call.ts'

/** contracts/worker-protocol.ts, appendLog. */
const maxChunks = 200
/** As JSON, where a control character takes six bytes; appendLog accepts 4 MiB. */
const maxBatchBytes = 1024 * 1024

/** How many of the first chunks go into one request: at least one. */
function batchLength(chunks: readonly LogChunk[]): number {
  let bytes = 0
  let count = 0
  for (const chunk of chunks.slice(0, maxChunks)) {
    bytes += Buffer.byteLength(JSON.stringify(chunk))
    if (count > 0 && bytes > maxBatchBytes) break
    count += 1
  }
  return count
}

/**
 * Sends the first chunks of a log in one request and answers which are left to send: the server says which number it wants
 * next, so a repeated request stores nothing twice. `truncated`: the server keeps no more of this log.
 */
export async function sendLogBatch(
  client: ServerClient,
  token: number,
  chunks: readonly LogChunk[],
  options: CallOptions = {},
): Promise<{ left: LogChunk[]; truncated: boolean }> {
  const count = batchLength(chunks)
  const { nextSeq, truncated } = await client.appendLog(token, { chunks: chunks.slice(0, count) }, options)
  if (truncated) return { left: [], truncated }
  const left = chunks.filter((chunk) => chunk.seq >= nextSeq)
  // A server that asks for what it was just given would be sent the same batch forever.
  return { left: left.length === chunks.length ? chunks.slice(count) : left, truncated }
}

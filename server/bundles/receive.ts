import { ArchiveRefused, createArchiveCheck } from '@hivesync/protocol/archive.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import type { StoredObject } from '../platform/store/store.ts'

const maxEntries = 100_000
const maxUnpackedBytes = 2 * 1024 ** 3
/** Uploads of one team at the same time in this process: each may fill the disk before it is counted. */
const maxAtOnce = 4

const underWay = new WeakMap<Context, Map<string, number>>()

/** Runs an upload of a team, or refuses it with `overloaded` while as many are under way as may be. */
export async function withUploadPlace<T>(ctx: Context, teamId: string, upload: () => Promise<T>): Promise<T> {
  const counts = underWay.get(ctx) ?? new Map<string, number>()
  underWay.set(ctx, counts)
  const count = counts.get(teamId) ?? 0
  if (count >= maxAtOnce)
    throw new AppError(
      'overloaded',
      { teamId },
      { headers: { 'retry-after': '10' }, detail: `${maxAtOnce} uploads of the team are under way` },
    )
  counts.set(teamId, count + 1)
  try {
    return await upload()
  } finally {
    const left = (counts.get(teamId) ?? 1) - 1
    if (left === 0) counts.delete(teamId)
    else counts.set(teamId, left)
  }
}

export interface ReceivedBundle extends StoredObject {
  unpackedBytes: number
  entries: number
}

/** Stores an archive while it is judged; one that is not acceptable leaves nothing behind, and nothing is unpacked anywhere. */
export async function receiveArchive(
  ctx: Context,
  content: AsyncIterable<Buffer>,
  maxBytes: number,
): Promise<ReceivedBundle> {
  const unpackedBytes = Math.min(4 * maxBytes, maxUnpackedBytes)
  const check = createArchiveCheck({ unpackedBytes, entries: maxEntries })
  let found = { unpackedBytes: 0, entries: 0 }
  async function* judged(): AsyncGenerator<Buffer> {
    for await (const chunk of content) {
      await check.write(chunk)
      yield chunk
    }
    found = await check.end()
  }
  try {
    return { ...(await ctx.store.put(judged(), { maxBytes })), ...found }
  } catch (error) {
    if (!(error instanceof ArchiveRefused)) throw error
    throw new AppError('bundle_refused', {}, { detail: `The archive is refused: ${error.message}` })
  } finally {
    check.close()
  }
}

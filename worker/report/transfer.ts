import { createReadStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { type ArchiveLimits, ArchiveRefused, createArchiveCheck } from '@hivesync/protocol/archive.ts'
import type { Clock } from '../clock.ts'
import type { Digest, Random } from '../enrol/random.ts'
import { persist } from './persistence.ts'
import type { ServerClient } from './server-client.ts'

/** A file that a job left behind, lying where the job can no longer change it. */
export interface LocalArtifact {
  path: string
  bytes: number
  sha256: string
  /** Where it lies on this machine. */
  file: string
}

export interface TransferOptions {
  clock: Clock
  random: Random
  /** Of the lease: a transfer never outlives it. */
  signal: AbortSignal
}

/** Contents that are not what the server said they would be: damaged on the way or in the store. */
export class TransferRefused extends Error {
  constructor(reason: string) {
    super(`the transfer was refused: ${reason}`)
    this.name = 'TransferRefused'
  }
}

/** How many a declaration may name (contracts/artifacts.ts). */
const batchSize = 1000
/** A transfer may take a minute, and as long as its bytes take at 500 KB/s. */
const timeoutFor = (bytes: number): number => 60_000 + bytes / 500

/**
 * Hands the files over under a lease; they are to be seen once its completion is accepted. Each call is repeated until it succeeds or is refused for
 * good; throws that refusal (`storage_full`: the team's plan holds no more), or the signal's reason. A file must not change meanwhile. Answers the
 * artifacts' ids by path.
 */
export async function uploadArtifacts(
  client: ServerClient,
  token: number,
  files: readonly LocalArtifact[],
  options: TransferOptions,
): Promise<ReadonlyMap<string, string>> {
  const { signal } = options
  const all = new Map<string, string>()
  for (let start = 0; start < files.length; start += batchSize) {
    const batch = files.slice(start, start + batchSize)
    const declared = batch.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 }))
    const reply = await persist(() => client.declareArtifacts(token, { artifacts: declared }, { signal }), options)
    const ids = new Map(reply.artifacts.map(({ path, id }) => [path, id]))
    for (const { path, bytes, sha256, file } of batch) {
      const id = ids.get(path)
      if (id === undefined) throw new TransferRefused('the server did not name every file it was told of')
      all.set(path, id)
      const content = { bytes, sha256, open: () => createReadStream(file) }
      await persist(() => client.uploadArtifact(token, id, content, { signal, timeoutMs: timeoutFor(bytes) }), options)
    }
  }
  return all
}

/**
 * Fetches the bundle of a claimed job into a new file of the folder (0600) and answers its path; the caller removes it. It has the size and digest that
 * the claim states, and has passed the archive check here too: whoever unpacks it meets only plain files and folders below one folder.
 * Throws TransferRefused when it has not, a CallRefused, or the signal's reason; then nothing is left in the folder.
 */
export async function downloadBundle(
  client: ServerClient,
  token: number,
  expected: NonNullable<Claim['bundle']>,
  options: TransferOptions & { folder: string; createDigest: () => Digest },
): Promise<string> {
  const { signal } = options
  const file = join(options.folder, `bundle-${expected.id}-${options.random.nonce()}`)
  return await persist(async () => {
    let receiving: Promise<void> | undefined
    const receive = (content: AsyncIterable<Buffer>): Promise<void> => {
      receiving = receiveBundle(content, file, expected, options.createDigest())
      return receiving
    }
    try {
      await client.fetchBundle(token, receive, { signal, timeoutMs: timeoutFor(expected.bytes) })
      return file
    } catch (error) {
      // An aborted call does not wait for what still writes.
      await receiving?.catch(() => undefined)
      await rm(file, { force: true })
      throw error
    }
  }, options)
}

async function receiveBundle(
  content: AsyncIterable<Buffer>,
  file: string,
  expected: NonNullable<Claim['bundle']>,
  digest: Digest,
): Promise<void> {
  const limits: ArchiveLimits = { unpackedBytes: expected.unpackedBytes, entries: expected.entries }
  const check = createArchiveCheck(limits)
  // Exclusive, so that no link planted under its name is followed.
  const handle = await open(file, 'wx', 0o600)
  try {
    let bytes = 0
    for await (const chunk of content) {
      bytes += chunk.length
      if (bytes > expected.bytes) throw new TransferRefused('the bundle is longer than was said')
      digest.update(chunk)
      await check.write(chunk)
      await handle.writeFile(chunk)
    }
    const found = await check.end()
    const isSame =
      bytes === expected.bytes && found.unpackedBytes === expected.unpackedBytes && found.entries === expected.entries
    if (!isSame || digest.hex() !== expected.sha256) throw new TransferRefused('the bundle is not the one of the job')
  } catch (error) {
    throw error instanceof ArchiveRefused ? new TransferRefused(error.message) : error
  } finally {
    check.close()
    await handle.close()
  }
}

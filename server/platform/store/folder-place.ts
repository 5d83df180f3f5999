import { constants, createReadStream } from 'node:fs'
import { chmod, type FileHandle, link, mkdir, open, opendir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import { isObjectKey, type Listed, type Place, requireObjectKey } from './place.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants

/**
 * Contents as files of a folder that only this user may open (0700), in subfolders by the first two characters of their keys. A content is written under `drafts`, synced, linked
 * under its key (which never overwrites) and its folder synced: a crash leaves the whole or a draft, never a part of it under the key.
 */
export function createFolderPlace(folder: string, clock: Clock): Place {
  const drafts = join(folder, 'drafts')
  const shardOf = (key: string): string => join(folder, key.slice(0, 2))
  const pathOf = (key: string): string => {
    requireObjectKey(key)
    return join(shardOf(key), key)
  }
  let made: Promise<void> | undefined

  async function make(): Promise<void> {
    await mkdir(drafts, { recursive: true, mode: 0o700 })
    // It may have been there before, with whatever rights.
    await chmod(folder, 0o700)
  }

  async function keep(draft: string, key: string): Promise<void> {
    const shard = shardOf(key)
    const isNew = (await mkdir(shard, { recursive: true, mode: 0o700 })) !== undefined
    await link(draft, pathOf(key))
    await syncFolder(shard)
    if (isNew) await syncFolder(folder)
  }

  return {
    async write(key, content) {
      requireObjectKey(key)
      // Made anew at every failure: the folder may be mounted later than we start.
      made ??= make()
      await fromDisk(
        made.catch((error) => {
          made = undefined
          throw error
        }),
      )
      const draft = join(drafts, key)
      const file = await fromDisk(open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600))
      try {
        await fill(file, content, clock.now())
        await fromDisk(keep(draft, key))
      } finally {
        await rm(draft, { force: true })
      }
    },
    async read(key, range) {
      const file = await ifThere(open(pathOf(key), O_RDONLY | O_NOFOLLOW))
      if (file === undefined) return undefined
      const { start = 0, end } = range ?? {}
      return createReadStream('', { fd: file, start, ...(end !== undefined && { end }) })
    },
    size: async (key) => (await ifThere(stat(pathOf(key))))?.size,
    async remove(key) {
      await fromDisk(rm(pathOf(key), { force: true }))
    },
    async *list() {
      for await (const shard of entriesOf(folder))
        if (/^[0-9a-f]{2}$/.test(shard)) yield* listFolder(join(folder, shard))
    },
    async removeUnfinished(before) {
      let removed = 0
      for await (const { key, storedAt } of listFolder(drafts)) {
        if (storedAt >= before) continue
        await fromDisk(rm(join(drafts, key), { force: true }))
        removed += 1
      }
      return removed
    },
  }
}

async function fill(file: FileHandle, content: AsyncIterable<Uint8Array>, now: number): Promise<void> {
  try {
    for await (const chunk of content) await fromDisk(file.writeFile(chunk))
    await fromDisk(file.utimes(now / 1000, now / 1000))
    await fromDisk(file.sync())
  } finally {
    await file.close()
  }
}

async function* listFolder(folder: string): AsyncGenerator<Listed> {
  for await (const key of entriesOf(folder)) {
    const found = isObjectKey(key) ? await ifThere(stat(join(folder, key))) : undefined
    if (found !== undefined) yield { key, storedAt: found.mtimeMs }
  }
}

async function* entriesOf(folder: string): AsyncGenerator<string> {
  const entries = await ifThere(opendir(folder))
  if (entries === undefined) return
  for await (const entry of entries) yield entry.name
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Whatever the disk refuses (full, read-only, broken) is told to the client in one word, and to the log by its code. */
async function fromDisk<T>(act: Promise<T>): Promise<T> {
  try {
    return await act
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new AppError('storage_unavailable', { reason })
  }
}

async function ifThere<T>(act: Promise<T>): Promise<T | undefined> {
  try {
    return await act
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    return fromDisk(Promise.reject(error))
  }
}

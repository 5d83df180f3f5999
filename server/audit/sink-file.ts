import { constants } from 'node:fs'
import { type FileHandle, link, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Sink } from './sink.ts'

const rotateAtBytes = 64 * 1024 * 1024

/** Appends to a file that only its owner reads, and answers when it is on the disk. A full one goes on as `FILE-<the last leaf in it>`, and nothing is ever removed. */
export function fileSink({ path }: { path: string }, maxBytes = rotateAtBytes): Sink {
  return {
    name: `file:${path}`,
    async deliver(items) {
      // Not through a link that somebody has put there.
      const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
      const file = await open(path, flags, 0o600)
      let size: number
      try {
        // A crash may have left half a line; its rest comes again.
        const torn = (await endsTorn(file)) ? '\n' : ''
        await file.appendFile(`${torn}${items.map(({ line }) => `${line}\n`).join('')}`)
        await file.sync()
        size = (await file.stat()).size
      } finally {
        await file.close()
      }
      if (size >= maxBytes) await rotate(path, items.at(-1)?.seq ?? 0)
      await syncFolder(path)
    },
  }
}

async function endsTorn(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat()
  if (size === 0) return false
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer[0] !== 0x0a
}

/** A link first: a name that is taken, by a delivery that came twice, is not written over. */
async function rotate(path: string, seq: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await link(path, `${path}-${seq}${attempt === 0 ? '' : `.${attempt}`}`)
      return await unlink(path)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
  }
}

/** The names too must outlive a power cut. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

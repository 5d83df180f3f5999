import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Ends the names of files being written; what a crash leaves under such a name was never valid. */
export const draftSuffix = '.draft'

/**
 * Replaces a file so that after a crash at any moment either the old or the whole new content is there: written under
 * another name (0600), synced, renamed, and the folder synced so that the name itself survives a power cut.
 */
export async function writeDurably(path: string, content: string): Promise<void> {
  const draft = join(dirname(path), `${basename(path)}${draftSuffix}`)
  await rm(draft, { force: true })
  // Exclusive, so that no link planted under the draft's name is followed.
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } catch (error) {
    await rm(draft, { force: true }) // half of it would help to keep a full disk full
    throw error
  } finally {
    await file.close()
  }
  await rename(draft, path)
  await syncFolder(dirname(path))
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { withMirrorLock } from './mirror-lock.ts'

/**
 * Where one project's mirror lies:
 *
 *     <dataDir>/mirrors/                0700, as root 0711 (passable, not listable)
 *       <projectId>.lock
 *       <projectId>/                    0700; as root 0710 for the one user whose sandboxed git works in it
 *         repository/                   the bare repository, written by git inside the sandbox only
 *         new-XXXXXX/                   a first clone, renamed to `repository` when complete
 *
 * A worker without root has one user for itself and its sandboxes. A root worker's sandboxes run as slot users that change
 * from run to run: the sandbox lends each run the repository (sandbox/lend.ts), so nobody else ever gets past `<projectId>`.
 */
export interface MirrorFolder {
  readonly repository: string
  exists(): Promise<boolean>
  /** An empty folder for a first clone. */
  prepareNew(): Promise<string>
  /** Puts a complete first clone in place of whatever was there. */
  publish(newPath: string): Promise<void>
  discard(path: string): Promise<void>
}

/**
 * Holds the mirror of a project for `work`, alone on this machine; leftovers of a crash are removed first. Throws
 * MirrorBusy, and RangeError for a project id that is no plain name.
 */
export async function withMirrorFolder<T>(
  options: { dataDir: string; projectId: string; signal?: AbortSignal | undefined },
  work: (folder: MirrorFolder) => Promise<T>,
): Promise<T> {
  // The id becomes a folder name: "../other" would be another project's mirror.
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(options.projectId))
    throw new RangeError('project id is not a plain name')
  const isRoot = process.getuid?.() === 0
  const mirrors = join(options.dataDir, 'mirrors')
  const project = join(mirrors, options.projectId)
  await mkdir(mirrors, { recursive: true, mode: isRoot ? 0o711 : 0o700 }) // an existing dataDir is left as its owner made it
  await chmod(mirrors, isRoot ? 0o711 : 0o700)
  return await withMirrorLock(`${project}.lock`, options.signal, async () => {
    await mkdir(project, { recursive: true, mode: 0o700 })
    await chmod(project, 0o700)
    await removeLeftovers(project)
    return await work(openFolder(project))
  })
}

function openFolder(project: string): MirrorFolder {
  const repository = join(project, 'repository')
  return {
    repository,
    exists: () => isFolder(repository),
    prepareNew: () => mkdtemp(join(project, 'new-')),
    async publish(newPath) {
      await discardFolder(repository)
      await rename(newPath, repository)
    },
    discard: discardFolder,
  }
}

/** No sandbox runs in it while the lock is held by us, so nothing can swap a folder for a link under this removal. */
async function discardFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}

async function removeLeftovers(project: string): Promise<void> {
  for (const name of await readdir(project)) {
    if (name.startsWith('new-')) await discardFolder(join(project, name))
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}

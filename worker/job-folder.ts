import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Archives that one job needs on its way into the sandbox. */
const foldersOfJobs = (dataDir: string) => join(dataDir, 'jobs')
/** What jobs left behind and the server does not have yet. */
const foldersOfOutputs = (dataDir: string) => join(dataDir, 'outputs')

/** A folder of one attempt's own, named by its fencing token and closed to everybody else (0700); empty. */
export async function makeJobFolder(dataDir: string, token: number): Promise<string> {
  return await makeEmpty(foldersOfJobs(dataDir), token)
}

export async function makeOutputFolder(dataDir: string, token: number): Promise<string> {
  return await makeEmpty(foldersOfOutputs(dataDir), token)
}

export function outputFolder(dataDir: string, token: number): string {
  return join(foldersOfOutputs(dataDir), nameOf(token))
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}

/** Removes what a worker that was killed left behind: of jobs everything, of outputs what no completion waits with. */
export async function sweepJobFolders(dataDir: string, waitingTokens: readonly number[]): Promise<void> {
  const kept = new Set(waitingTokens.map(nameOf))
  for (const [parent, isKept] of [
    [foldersOfJobs(dataDir), () => false],
    [foldersOfOutputs(dataDir), (name: string) => kept.has(name)],
  ] as const) {
    await mkdir(parent, { recursive: true, mode: 0o700 })
    for (const name of await readdir(parent)) if (!isKept(name)) await removeFolder(join(parent, name))
  }
}

async function makeEmpty(parent: string, token: number): Promise<string> {
  const folder = join(parent, nameOf(token))
  await removeFolder(folder)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

/** A token comes from the server, and must be nothing but a number where it names a folder. */
function nameOf(token: number): string {
  if (!Number.isSafeInteger(token) || token < 1) throw new RangeError('a fencing token is a positive whole number')
  return String(token)
}

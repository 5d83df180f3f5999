import { link, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CliError, usageError } from './failure.ts'
import { createFileDigest } from './file-digest.ts'

export interface ExpectedFile {
  id: string
  /** Below the folder. */
  path: string
  bytes: number
  sha256: string
}

/**
 * Writes a file below a folder as `path` says, and nowhere else: the names are judged here again, and no link on the way is followed. It is there only when it is whole and has the digest that
 * was stated; what was there before stays unless `force`. Answers where it lies.
 */
export async function receiveFile(
  folder: string,
  expected: ExpectedFile,
  content: AsyncIterable<Uint8Array>,
  { force }: { force: boolean },
): Promise<string> {
  const steps = splitPath(expected.path)
  const name = steps.pop() ?? ''
  const parent = await makeFolders(folder, steps)
  const target = join(parent, name)
  const draft = join(parent, `.hivesync-${expected.id}.part`)
  await rm(draft, { force: true })
  try {
    await fill(draft, expected, content)
    if (force) await rename(draft, target)
    else await link(draft, target)
    return target
  } catch (error) {
    throw isCode(error, 'EEXIST') ? existsError(target) : error
  } finally {
    await rm(draft, { force: true })
  }
}

/** Refuses before anything is fetched what would be refused after it. */
export async function requireAbsent(folder: string, path: string): Promise<void> {
  const target = join(folder, ...splitPath(path))
  try {
    await lstat(target)
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENOTDIR')) return
    throw error
  }
  throw existsError(target)
}

function splitPath(path: string): string[] {
  const steps = path.split('/')
  const isPlain = steps.every((step) => step !== '' && step !== '.' && step !== '..')
  if (!isPlain || /[\p{Cc}\\]/u.test(path))
    throw new CliError(
      'unsafe_path',
      'failed',
      'The server names a file that would lie outside the folder: it is not fetched',
    )
  return steps
}

async function makeFolders(folder: string, steps: readonly string[]): Promise<string> {
  await mkdir(folder, { recursive: true })
  let path = folder
  for (const step of steps) {
    path = join(path, step)
    try {
      await mkdir(path)
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
      if (!(await lstat(path)).isDirectory()) throw usageError(`${path} is in the way: it is no folder`)
    }
  }
  return path
}

async function fill(draft: string, expected: ExpectedFile, content: AsyncIterable<Uint8Array>): Promise<void> {
  const digest = createFileDigest()
  let bytes = 0
  const file = await open(draft, 'wx', 0o600)
  try {
    for await (const chunk of content) {
      bytes += chunk.length
      if (bytes > expected.bytes) break
      digest.update(chunk)
      await file.writeFile(chunk)
    }
    await file.sync()
    await file.chmod(0o644)
  } finally {
    await file.close()
  }
  if (bytes !== expected.bytes || digest.hex() !== expected.sha256)
    throw new CliError(
      'content_damaged',
      'failed',
      `${JSON.stringify(expected.path)} did not arrive as the server described it: try again`,
    )
}

function existsError(target: string): CliError {
  return usageError(`${target} is there already`, 'Say --force to replace it, or another folder with --output')
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

import type { Sandbox, SandboxLimits } from '../sandbox/spec.ts'
import { createBlobStream } from './blob-stream.ts'
import { FetchFailed } from './fetch-failed.ts'
import { type GitAnswer, type GitRun, insidePaths, runGit } from './git.ts'
import { languageOf } from './languages.ts'
import { createTreeListing, findText, type ListedFile, type ReadLimits, type SkippedFiles } from './tree-listing.ts'

export interface SourceFile {
  path: string
  language: string
  text: string
}

export type FileBatch = SourceFile[]

export interface ReadTotals {
  /** Regular files indexed; grows while the batches are read. */
  files: number
  bytes: number
  languages: Record<string, { files: number; bytes: number }>
  skipped: SkippedFiles
}

export interface TreeReading {
  /** One sandbox run each time the last run's files are used up: at most ~8 MiB of the tree is held, however slow the reader. */
  batches: AsyncGenerator<FileBatch, void, void>
  /** Files that will be looked at, for a percentage. */
  listed: number
  totals: ReadTotals
}

/** The mirror does not hold what its refs promise. */
export class MirrorDamaged extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MirrorDamaged'
  }
}

const batchBytes = 1024 * 1024
/**
 * One sandbox start (~30 ms) per 8 MiB: the interface has no back pressure, so a run is kept to what may be held. A 135 MiB
 * repository left 10 to 21 MiB alive after each collection (measured); what the process grows by beyond is V8's slack.
 */
const runBytes = 8 * 1024 * 1024
const runFiles = 4_000

interface ReadOptions {
  sandbox: Sandbox
  mirrorPath: string
  commit: string
  readLimits: ReadLimits
  limits: SandboxLimits
  signal?: AbortSignal
}

/**
 * Opens the tree of a commit for reading, without a checkout and without attributes, so nothing in it can run a filter or hide a
 * file (export-ignore). Throws FetchFailed `too_large` for a tree bomb, MirrorDamaged for a mirror to be thrown away.
 */
export async function readTree(options: ReadOptions): Promise<TreeReading> {
  const skipped = { binary: 0, tooLarge: 0, symlinks: 0, submodules: 0, encoding: 0, names: 0, overLimit: 0 }
  const totals: ReadTotals = { files: 0, bytes: 0, languages: {}, skipped }
  const files = await listTree(options, skipped)
  return { batches: readBatches(options, files, totals), listed: files.length, totals }
}

async function listTree(options: ReadOptions, skipped: SkippedFiles): Promise<ListedFile[]> {
  const listing = createTreeListing(options.readLimits, skipped)
  const command = ['git', `--git-dir=${insidePaths.mirror}`, 'ls-tree', '-r', '-z', '-l', '--full-tree', options.commit]
  const answer = await runReader(options, {
    command,
    // Every record fits the pattern's length plus its path; more than that is stopped by the count of entries before.
    limits: { ...options.limits, outputBytes: options.readLimits.maxEntries * 512 + 1024 * 1024 },
    parse(chunk) {
      if (!listing.push(chunk)) throw tooManyFiles()
    },
  })
  if (answer.result.receipt.killed === 'output') throw tooManyFiles()
  requireReading(answer)
  return listing.files
}

function tooManyFiles(): FetchFailed {
  return new FetchFailed('too_large', { message: 'The repository has more files than this worker accepts.' })
}

async function* readBatches(options: ReadOptions, files: readonly ListedFile[], totals: ReadTotals) {
  for (const group of groupFiles(files)) {
    let batch: FileBatch = []
    let held = 0
    for (const file of await readGroup(options, group, totals)) {
      if (held > 0 && held + file.text.length > batchBytes) {
        yield batch
        batch = []
        held = 0
      }
      batch.push(file)
      held += file.text.length
    }
    if (batch.length > 0) yield batch
  }
}

function* groupFiles(files: readonly ListedFile[]): Generator<ListedFile[]> {
  let group: ListedFile[] = []
  let bytes = 0
  for (const file of files) {
    if (group.length > 0 && (bytes + file.bytes > runBytes || group.length >= runFiles)) {
      yield group
      group = []
      bytes = 0
    }
    group.push(file)
    bytes += file.bytes
  }
  if (group.length > 0) yield group
}

async function readGroup(options: ReadOptions, group: ListedFile[], totals: ReadTotals): Promise<SourceFile[]> {
  const found: SourceFile[] = []
  const stream = createBlobStream(group, (file, content) => {
    const source = readSource(file, content, totals)
    if (source) found.push(source)
  })
  const answer = await runReader(options, {
    command: ['git', `--git-dir=${insidePaths.mirror}`, 'cat-file', '--batch', '--buffer'],
    stdin: Buffer.from(group.map((file) => `${file.oid}\n`).join('')),
    limits: { ...options.limits, outputBytes: group.reduce((sum, file) => sum + file.bytes + 128, 64 * 1024) },
    parse: (chunk) => stream.push(chunk),
  })
  requireReading(answer)
  if (!stream.isComplete) throw new MirrorDamaged('cat-file ended early')
  return found
}

function readSource(file: ListedFile, content: Buffer, totals: ReadTotals): SourceFile | undefined {
  // git looks for NUL in the first 8,000 bytes; one anywhere makes it binary here, because PostgreSQL's text cannot hold it.
  if (content.includes(0)) {
    totals.skipped.binary += 1
    return undefined
  }
  const text = findText(content)
  if (text === undefined) {
    totals.skipped.encoding += 1
    return undefined
  }
  const language = languageOf(file.path)
  totals.files += 1
  totals.bytes += file.bytes
  totals.languages[language] ??= { files: 0, bytes: 0 }
  const counted = totals.languages[language]
  counted.files += 1
  counted.bytes += file.bytes
  return { path: file.path, language, text }
}

type ReaderRun = Pick<GitRun, 'command' | 'limits' | 'stdin'> & { parse: (chunk: Buffer) => void }

/** Runs git on the read-only mirror; the first error of `parse` kills it and is what is thrown. */
async function runReader(options: ReadOptions, { parse, ...run }: ReaderRun): Promise<GitAnswer> {
  const stop = new AbortController()
  return await runGit(options.sandbox, {
    ...run,
    protocol: 'none',
    mounts: [{ from: options.mirrorPath, to: insidePaths.mirror, lent: true }],
    signal: options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal,
    onStdout(chunk) {
      if (stop.signal.aborted) return
      try {
        parse(chunk)
      } catch (error) {
        stop.abort(error instanceof SyntaxError ? new MirrorDamaged(error.message) : error)
      }
    },
  })
}

function requireReading(answer: GitAnswer): void {
  if (answer.succeeded) return
  const killed = answer.result.receipt.killed
  if (killed === 'wall' || killed === 'cpu')
    throw new FetchFailed('timeout', { message: 'Reading the files took too long.' })
  if (killed !== null) throw new FetchFailed('too_large', { detail: `reading: ${killed}` })
  throw new MirrorDamaged(answer.stderr.slice(-300))
}

import { readdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import type { ReaderVerbs, Scan } from './index-reader.ts'
import type { WriterVerbs } from './index-writer.ts'
import { refuse, type Totals } from './limits.ts'
import type { MatchingLine } from './match.ts'
import { startThread, type Thread } from './thread.ts'

/** One index: what the attempt with this fencing token built for the project. */
export interface IndexName {
  projectId: string
  token: number
}

const maxReaders = Math.min(2, availableParallelism())
// Searches that wait for a reader; at 30 ms each the last of them waits a second.
const maxWaiting = 64

interface Threads {
  writer: Thread<WriterVerbs> | undefined
  readers: Thread<ReaderVerbs>[]
  isClosed: boolean
}

const threadsOf = new WeakMap<Context, Threads>()

function getThreads(ctx: Context): Threads {
  const threads = threadsOf.get(ctx) ?? { writer: undefined, readers: [], isClosed: false }
  threadsOf.set(ctx, threads)
  if (threads.isClosed) throw new Error('the search indexes are closed')
  return threads
}

function getWriter(ctx: Context): Thread<WriterVerbs> {
  const threads = getThreads(ctx)
  if (!threads.writer?.isAlive) threads.writer = startThread(new URL('./index-writer.ts', import.meta.url))
  return threads.writer
}

/** The reader with the fewest searches waiting; one more is started while all are busy. */
function getReader(ctx: Context): Thread<ReaderVerbs> {
  const threads = getThreads(ctx)
  threads.readers = threads.readers.filter((reader) => reader.isAlive)
  const [idlest] = threads.readers.toSorted((a, b) => a.pending - b.pending)
  if (idlest !== undefined && (idlest.pending === 0 || threads.readers.length >= maxReaders)) {
    if (idlest.pending >= maxWaiting) throw new AppError('overloaded', {}, { headers: { 'retry-after': '1' } })
    return idlest
  }
  const reader: Thread<ReaderVerbs> = startThread(new URL('./index-reader.ts', import.meta.url))
  threads.readers.push(reader)
  return reader
}

const folderOf = (ctx: Context) => join(ctx.config.dataDir, 'search')

function pathOf(ctx: Context, { projectId, token }: IndexName): string {
  // Both come from the database, but a path is made of them.
  if (!/^[0-9a-f-]{36}$/.test(projectId) || !Number.isSafeInteger(token)) throw new Error('not the name of an index')
  return join(folderOf(ctx), projectId, `${token}.db`)
}

export async function receiveInFile(ctx: Context, name: IndexName, batch: number, files: IndexedFile[]): Promise<void> {
  const verdict = await getWriter(ctx).call('receive', { path: pathOf(ctx, name), batch, files })
  if (verdict !== 'stored') refuse(verdict)
}

export function prepareFile(ctx: Context, name: IndexName): Promise<Totals> {
  return getWriter(ctx).call('prepare', { path: pathOf(ctx, name) })
}

export async function dropFile(ctx: Context, name: IndexName): Promise<void> {
  const path = pathOf(ctx, name)
  await getWriter(ctx).call('drop', { path })
  await Promise.all(getThreads(ctx).readers.map((reader) => reader.call('forget', { path })))
}

/** All indexes on the disk, served or not. */
export async function listFiles(ctx: Context): Promise<IndexName[]> {
  const entries = await readdir(folderOf(ctx), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] // nothing was ever ingested
    throw error
  })
  return entries.flatMap((entry) => {
    const [, projectId, token] = /^([0-9a-f-]{36})\/(\d+)\.db$/.exec(entry) ?? []
    return projectId === undefined ? [] : [{ projectId, token: Number(token) }]
  })
}

export function searchFile(
  ctx: Context,
  name: IndexName,
  scan: Omit<Scan, 'path'>,
): Promise<MatchingLine[] | 'missing' | 'too_long'> {
  return getReader(ctx).call('search', { path: pathOf(ctx, name), ...scan })
}

/** Ends the threads after the calls under way; later calls are refused. */
export async function closeThreads(ctx: Context): Promise<void> {
  const threads = threadsOf.get(ctx) ?? { writer: undefined, readers: [], isClosed: false }
  threadsOf.set(ctx, threads)
  threads.isClosed = true
  await Promise.all([threads.writer?.close(), ...threads.readers.map((reader) => reader.close())])
}

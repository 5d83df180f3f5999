import type { QueryOf, ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type * as contract from '@hivesync/contracts/search.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { sqlState } from '../platform/db/sql-state.ts'
import { AppError } from '../platform/errors.ts'
import { requireProject } from '../projects/projects.ts'
import { openCursor, type Position, refusedCursor, sealCursor } from './cursor.ts'
import { foldCase } from './fold.ts'
import { type MatchingLine, type Place, storable, type Wanted } from './match.ts'
import { beginSearch, searchTable } from './postgres-search.ts'
import { findServedIndexes } from './queries.ts'
import { type IndexName, searchFile } from './sqlite-indexes.ts'

export { closeIndexes, dropIndex, prepareIndex, receiveFiles, sweepIndexes } from './indexes.ts'

// What a search may cost before it is refused; over 1,000,000 lines the worst measured took 0.2 s.
const budgetMs = 3000
const defaultLimit = 50
// https://www.postgresql.org/docs/15/errcodes-appendix.html
const queryCanceled = '57014'

type Query = QueryOf<typeof contract.searchCode>
type Found = MatchingLine & IndexName

type Scan = (name: IndexName, after: Place | null, most: number) => Promise<Found[]>

interface Request {
  wanted: Wanted
  projectId: string | undefined
  limit: number
  /** What a cursor is bound to. */
  asked: readonly unknown[]
  after: Position | null
}

/**
 * Lines of published indexes that hold a text, by project, path and line; at most 50 lines of a file. Case is ignored as
 * `foldCase` says (in `path` and `lang` that of ASCII letters only); every character is literal. Only projects that the
 * actor may read now. Refuses with `overloaded` what takes longer than 3 s, and a cursor of an index since replaced with
 * `invalid_request`: every line is given once.
 */
export async function searchCode(
  ctx: Context,
  actor: Actor,
  query: Query,
): Promise<ReplyOf<typeof contract.searchCode>> {
  const request = readRequest(ctx, query)
  const deadline = performance.now() + budgetMs
  const found = await (ctx.db.dialect === 'postgres' ? searchRows : searchFiles)(ctx, actor, request, deadline)
  const shown = found.slice(0, request.limit)
  const last = shown[shown.length - 1]
  return {
    items: shown.map(({ projectId, path, line, excerpt, language }) => ({ projectId, path, line, excerpt, language })),
    nextCursor:
      found.length > request.limit && last !== undefined ? sealCursor(ctx.keyring, request.asked, last) : null,
  }
}

function readRequest(ctx: Context, { q, projectId, path, lang, limit, cursor }: Query): Request {
  const text = foldCase(q.toWellFormed())
  if ([...text].length < 3) throw refusedText('must have at least three characters')
  if (/[\0\r\n]/.test(text)) throw refusedText('must be on one line')
  const asked = [q, projectId ?? null, path ?? null, lang ?? null]
  return {
    wanted: { text, path: lowerAscii(path), language: lowerAscii(lang) },
    projectId,
    limit: limit === undefined ? defaultLimit : Number(limit),
    asked,
    after: cursor === undefined ? null : openCursor(ctx.keyring, asked, cursor),
  }
}

function refusedText(message: string): AppError {
  return new AppError('invalid_request', {}, { fields: [{ path: 'query/q', message }] })
}

function lowerAscii(text: string | undefined): string | null {
  return text === undefined ? null : storable(text).replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** The indexes to search, as the actor's rights are now, from the cursor's on. */
async function requireIndexes(db: Db, actor: Actor, { projectId, after }: Request): Promise<IndexName[]> {
  if (projectId !== undefined) await requireProject(db, actor, projectId, 'search:read')
  else if (!actor.permissions.has('search:read')) throw new AppError('permission_denied')
  const served = await findServedIndexes(db, actor, projectId)
  const current = served.find((name) => name.projectId === after?.projectId)
  if (current !== undefined && current.token !== after?.token) throw replacedIndex()
  return served
    .filter((name) => after === null || name.projectId >= after.projectId)
    .toSorted((a, b) => (a.projectId < b.projectId ? -1 : 1))
}

async function searchFiles(ctx: Context, actor: Actor, request: Request, deadline: number): Promise<Found[]> {
  const db = ctx.db.kysely
  const scan: Scan = async (name, after, most) => {
    const remainingMs = deadline - performance.now()
    const lines = await searchFile(ctx, name, { wanted: request.wanted, after, most, budgetMs: remainingMs })
    if (lines === 'too_long') throw tooLong()
    if (lines !== 'missing') return lines.map((line) => ({ ...name, ...line }))
    // Replaced and dropped since its name was read? Otherwise it is lost.
    const [now] = await findServedIndexes(db, actor, name.projectId)
    if (now === undefined) return []
    if (now.token === name.token) throw lostIndex(ctx, name)
    if (after !== null) throw replacedIndex()
    return scan(now, null, most)
  }
  return collect(await requireIndexes(db, actor, request), request, deadline, scan)
}

async function searchRows(ctx: Context, actor: Actor, request: Request, deadline: number): Promise<Found[]> {
  try {
    return await ctx.db.transaction(async (tx) => {
      await beginSearch(tx, budgetMs)
      return collect(await requireIndexes(tx, actor, request), request, deadline, async (name, after, most) => {
        const lines = await searchTable(tx, name, request.wanted, after, most)
        return lines.map((line) => ({ ...name, ...line }))
      })
    })
  } catch (error) {
    if (sqlState(error) === queryCanceled) throw tooLong()
    throw error
  }
}

/** One line more than the page shows, so that the last page is known to be last. */
async function collect(indexes: IndexName[], request: Request, deadline: number, scan: Scan): Promise<Found[]> {
  const found: Found[] = []
  for (const name of indexes) {
    const after = name.projectId === request.after?.projectId ? request.after : null
    found.push(...(await scan(name, after, request.limit + 1 - found.length)))
    if (found.length > request.limit) break
    if (performance.now() > deadline) throw tooLong()
  }
  return found
}

function tooLong(): AppError {
  const detail = `The search took longer than ${budgetMs / 1000} seconds: give more of the text, a project, a path or a language`
  return new AppError('overloaded', {}, { detail, headers: { 'retry-after': '5' } })
}

function replacedIndex(): AppError {
  return refusedCursor('is of an index that a newer ingest replaced: begin again')
}

function lostIndex(ctx: Context, { projectId, token }: IndexName): AppError {
  ctx.log.error({ event: 'search_index_missing', projectId, token })
  return new AppError('not_ready', {}, { detail: `The search index of project ${projectId} is lost: ingest it again` })
}

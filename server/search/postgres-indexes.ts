import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'
import { sql } from 'kysely'
import { findMirror, lockIndex } from '../mirrors/mirrors.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { foldCase } from './fold.ts'
import { firstFileId, judgeBatch, refuse, type Totals, type Verdict } from './limits.ts'
import { storable } from './match.ts'
import type { IndexName } from './sqlite-indexes.ts'

// Characters of text in one statement: what a statement holds is in memory several times, here and in the server.
const maxStatementLength = 4 * 1024 * 1024
// Rows deleted at a time: a statement on an index of 200,000 files would run into the statement timeout.
const rowsPerDelete = 2000

interface Row {
  id: number
  path: string
  language: string | null
  text: string
}

export async function receiveInTable(
  ctx: Context,
  name: IndexName,
  batch: number,
  files: IndexedFile[],
): Promise<void> {
  const first = firstFileId(batch)
  const rows = files.map((file, position) => ({
    id: first + position,
    path: storable(file.path),
    language: file.language === null ? null : storable(file.language),
    text: storable(file.text),
  }))
  const bytes = rows.reduce((sum, row) => sum + Buffer.byteLength(row.text), 0)
  const verdict = await ctx.db.transaction(async (tx): Promise<Verdict> => {
    await lockIndex(tx, name.token)
    const mirror = await findMirror(tx, name.projectId)
    if (mirror?.indexToken === name.token) return 'sealed'
    if (await hasFile(tx, name, first)) return 'stored'
    const judged = judgeBatch(await countFiles(tx, name), { files: rows.length, bytes })
    if (judged !== 'stored') return judged
    for (const part of partsOf(rows)) await insertFiles(tx, name, part)
    return 'stored'
  })
  if (verdict !== 'stored') refuse(verdict)
}

/** How many files the index holds, and their bytes. */
export async function countFiles(db: Db, { projectId, token }: IndexName): Promise<Totals> {
  const { rows } = await sql<Totals>`
    select count(*) as files, coalesce(sum(octet_length(text)), 0) as bytes
    from search_files where project_id = ${projectId} and token = ${token}`.execute(db)
  return rows[0] ?? { files: 0, bytes: 0 }
}

export async function dropRows(ctx: Context, { projectId, token }: IndexName): Promise<void> {
  for (;;) {
    const { numAffectedRows } = await ctx.db.transaction((tx) =>
      sql`delete from search_files where project_id = ${projectId} and token = ${token} and id in (
        select id from search_files where project_id = ${projectId} and token = ${token} order by id limit ${rowsPerDelete}
      )`.execute(tx),
    )
    if (numAffectedRows === 0n) return
  }
}

/** All indexes in the table, served or not; jumps from one to the next instead of reading their files. */
export async function listIndexes(db: Db): Promise<IndexName[]> {
  const { rows } = await sql<IndexName>`
    with recursive present as (
      (select project_id, token from search_files order by project_id, token limit 1)
      union all
      select next.project_id, next.token from present cross join lateral (
        select f.project_id, f.token from search_files as f
        where (f.project_id, f.token) > (present.project_id, present.token)
        order by f.project_id, f.token limit 1
      ) as next
    )
    select project_id, token from present`.execute(db)
  return rows
}

async function hasFile(tx: Db, { projectId, token }: IndexName, id: number): Promise<boolean> {
  const row = await tx
    .selectFrom('searchFiles')
    .select('id')
    .where('projectId', '=', projectId)
    .where('token', '=', token)
    .where('id', '=', id)
    .executeTakeFirst()
  return row !== undefined
}

async function insertFiles(tx: Db, { projectId, token }: IndexName, rows: Row[]): Promise<void> {
  const values = rows.map(({ id, path, language, text }) => {
    const folded = foldCase(text)
    // ASCII text, most of it, goes over the wire once and is folded there: lower() under "C" folds just A to Z.
    const isAscii = Buffer.byteLength(text) === text.length
    return sql`(${id}::bigint, ${path}, ${language}::text, ${text}, ${isAscii ? null : folded}::text)`
  })
  await sql`
    insert into search_files (project_id, token, id, path, language, text, folded)
    select ${projectId}, ${token}, id, path, language, text, coalesce(folded, lower(text collate "C"))
    from (values ${sql.join(values)}) as v (id, path, language, text, folded)`.execute(tx)
}

function* partsOf(rows: Row[]): Generator<Row[]> {
  let part: Row[] = []
  let length = 0
  for (const row of rows) {
    if (part.length > 0 && length + row.text.length > maxStatementLength) {
      yield part
      part = []
      length = 0
    }
    part.push(row)
    length += row.text.length
  }
  if (part.length > 0) yield part
}

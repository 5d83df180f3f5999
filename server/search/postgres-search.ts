import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../platform/db/db.ts'
import { excerptOf } from './excerpt.ts'
import { type MatchingLine, maxLinesPerFile, type Place, type Wanted } from './match.ts'
import type { IndexName } from './sqlite-indexes.ts'

/** Gives the transaction one view of rights and indexes, and its statements a time limit (then SQLSTATE 57014); never reads all projects' files. */
export async function beginSearch(tx: Db, budgetMs: number): Promise<void> {
  await sql`set transaction isolation level repeatable read, read only`.execute(tx)
  await sql`set local enable_seqscan = off`.execute(tx)
  await sql`set local statement_timeout = ${sql.lit(budgetMs)}`.execute(tx)
}

// A text that is in most files is found by looking at the first ones; only otherwise is the trigram index worth its
// cost, which grows with all matches and not with those shown. Measured on 35 MB: 4 ms for 100 files.
const firstFiles = 100

/** The matching lines of one index after a place, by path and line. */
export async function searchTable(
  tx: Db,
  name: IndexName,
  wanted: Wanted,
  after: Place | null,
  most: number,
): Promise<MatchingLine[]> {
  const { projectId, token } = name
  const isMatch = sql`folded like ${`%${wanted.text.replace(/[\\%_]/g, '\\$&')}%`}`
  const isAsked = conditionsOf(name, wanted, after)
  const some = await findLines(tx, name, wanted, after, most, {
    files: sql`(
      select id, path, language, folded from search_files where project_id = ${projectId} and token = ${token} and ${isAsked}
      order by left(path, 250), path, id limit ${firstFiles}
    ) as first`,
    where: isMatch,
  })
  if (some.length === most) return some
  // The expression is that of the trigram index and of no other: left to its guesses about patterns, the planner reads
  // all of the project's files instead (160 ms against 1 ms for a text that is nowhere).
  return findLines(tx, name, wanted, after, most, {
    files: sql`search_files`,
    where: sql`(project_id || '/' || token::text) = ${`${projectId}/${token}`} and ${isMatch} and ${isAsked}`,
  })
}

function conditionsOf({ projectId, token }: IndexName, wanted: Wanted, after: Place | null): RawBuilder<unknown> {
  const conditions = [sql`true`]
  // Paths are in the collation "C", so lower() folds ASCII letters only, as SQLite's does.
  if (wanted.path !== null) conditions.push(sql`strpos(lower(path), ${wanted.path}) > 0`)
  if (wanted.language !== null) conditions.push(sql`lower(language collate "C") = ${wanted.language}`)
  if (after !== null)
    conditions.push(sql`(left(path, 250), path, id) >= (
      select left(path, 250), path, id from search_files
      where project_id = ${projectId} and token = ${token} and id = ${after.fileId})`)
  return sql.join(conditions, sql` and `)
}

interface FoundLine extends Place {
  path: string
  language: string | null
  /** The line from 300 characters before the match to 600 after it. */
  segment: string
  /** Where the match begins in the segment, in characters, from 0. */
  at: number
}

// Split and cut where the text is: what crosses to the serving thread is what a page shows, not whole files.
async function findLines(
  tx: Db,
  { projectId, token }: IndexName,
  wanted: Wanted,
  after: Place | null,
  most: number,
  from: { files: RawBuilder<unknown>; where: RawBuilder<unknown> },
): Promise<MatchingLine[]> {
  // Each file that matches has a line that does; the one where the last page ended may have no more.
  const maxFiles = most + 1
  const { rows } = await sql<FoundLine>`
    select picked.id as file_id, picked.path, picked.language, found.line, found.segment, found.at
    from (
      select id, path, language from ${from.files} where ${from.where} order by left(path, 250), path, id limit ${maxFiles}
    ) as picked
    join search_files as f on f.project_id = ${projectId} and f.token = ${token} and f.id = picked.id
    cross join lateral (
      select line, substr(content, greatest(1, place - 300), 900) as segment, least(place - 1, 300) as at
      from (
        select line, content, strpos(folded, ${wanted.text}) as place
        from rows from (string_to_table(f.text, E'\n'), string_to_table(f.folded, E'\n'))
          with ordinality as lines (content, folded, line)
      ) as lines
      where place > 0 order by line limit ${maxLinesPerFile}
    ) as found
    where not (picked.id = ${after?.fileId ?? 0} and found.line <= ${after?.line ?? 0})
    order by left(picked.path, 250), picked.path, picked.id, found.line limit ${most}`.execute(tx)
  return rows.map(({ segment, at, ...place }) => ({ ...place, excerpt: excerptOf(segment, unitsOf(segment, at)) }))
}

// PostgreSQL counts code points, JavaScript UTF-16 units.
function unitsOf(text: string, characters: number): number {
  let units = 0
  for (let count = 0; count < characters; count++) units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1
  return units
}

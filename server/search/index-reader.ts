// Worker thread: searches published index files through read-only connections.
import { type IndexFile, OpenIndexes, openForReading } from './index-file.ts'
import { type MatchingLine, matchLines, type Place, type Wanted } from './match.ts'
import { serveThread } from './thread.ts'

export interface Scan {
  path: string
  wanted: Wanted
  /** The last line already shown. */
  after: Place | null
  most: number
  budgetMs: number
}

const open = new OpenIndexes(openForReading, 32)

const verbs = {
  search(scan: Scan): MatchingLine[] | 'missing' | 'too_long' {
    const index = findIndex(scan.path)
    return index === undefined ? 'missing' : searchIndex(index, scan)
  },

  forget({ path }: { path: string }): void {
    open.close(path)
  },
}
export type ReaderVerbs = typeof verbs

// SQLITE_CANTOPEN: https://sqlite.org/rescode.html#cantopen
const cannotOpen = 14

function findIndex(path: string): IndexFile | undefined {
  try {
    return open.get(path)
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === cannotOpen) return undefined
    throw error
  }
}

interface Candidate {
  id: number
  path: string
  language: string | null
}

function searchIndex(index: IndexFile, scan: Scan): MatchingLine[] | 'too_long' {
  const until = performance.now() + scan.budgetMs
  const textOf = index.prepare('select text from texts where id = ?')
  const found: MatchingLine[] = []
  for (const { id, path, language } of findCandidates(index, scan)) {
    if (performance.now() > until) return 'too_long'
    for (const line of matchLines(String(textOf.get(id)?.text), scan.wanted.text)) {
      if (id === scan.after?.fileId && line.line <= scan.after.line) continue
      found.push({ fileId: id, path, language, ...line })
      if (found.length === scan.most) return found
    }
  }
  return found
}

/** The files that hold all trigrams of the text, by path: all that match, and a few that do not. Of 200,000 candidates the first comes after 0.1 s. */
function* findCandidates(index: IndexFile, { wanted, after }: Scan): Generator<Candidate> {
  const conditions = ['grams match ?']
  const values: (string | number)[] = [trigramsOf(wanted.text)]
  if (wanted.path !== null) {
    conditions.push('instr(lower(files.path), ?) > 0')
    values.push(wanted.path)
  }
  if (wanted.language !== null) {
    conditions.push('lower(files.language) = ?')
    values.push(wanted.language)
  }
  if (after !== null) {
    conditions.push('(files.path, files.id) >= ((select path from files where id = ?), ?)')
    values.push(after.fileId, after.fileId)
  }
  const rows = index
    .prepare(
      `select files.id, files.path, files.language from grams join files on files.id = grams.rowid
      where ${conditions.join(' and ')} order by files.path, files.id`,
    )
    .iterate(...values)
  for (const row of rows) {
    yield {
      id: Number(row.id),
      path: String(row.path),
      language: row.language === null ? null : String(row.language),
    }
  }
}

function trigramsOf(text: string): string {
  const characters = [...text]
  const trigrams = new Set(characters.slice(2).map((_, index) => characters.slice(index, index + 3).join('')))
  return [...trigrams].map((trigram) => `"${trigram.replaceAll('"', '""')}"`).join(' AND ')
}

serveThread(verbs, () => open.closeAll())

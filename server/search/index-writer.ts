// Worker thread: the only writer of index files, so that building one never blocks the thread that serves.
import { rmdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'
import { foldCase } from './fold.ts'
import { type IndexFile, OpenIndexes, openForWriting, syncFolders } from './index-file.ts'
import { firstFileId, judgeBatch, type Totals, type Verdict } from './limits.ts'
import { storable } from './match.ts'
import { serveThread } from './thread.ts'

const open = new OpenIndexes(openForWriting, 16)

const verbs = {
  receive({ path, batch, files }: { path: string; batch: number; files: IndexedFile[] }): Verdict {
    const index = open.get(path)
    if (isSealed(index)) return 'sealed'
    if (index.prepare('select 1 from batches where batch = ?').get(batch) !== undefined) return 'stored'
    const texts = files.map((file) => storable(file.text))
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    const verdict = judgeBatch(totalsOf(index), { files: files.length, bytes })
    if (verdict !== 'stored') return verdict
    inTransaction(index, () => {
      index.prepare('insert into batches (batch, files, bytes) values (?, ?, ?)').run(batch, files.length, bytes)
      files.forEach((file, position) => {
        insertFile(index, firstFileId(batch) + position, file, texts[position] ?? '')
      })
    })
    return 'stored'
  },

  /** From here on the file takes no more batches. Its last commit is on the disk already; its name is made so too. */
  prepare({ path }: { path: string }): Totals {
    const index = open.get(path)
    index.database.exec('pragma user_version = 1')
    const totals = totalsOf(index)
    open.close(path)
    syncFolders(path)
    return totals
  },

  drop({ path }: { path: string }): void {
    open.close(path)
    for (const suffix of ['', '-journal']) rmSync(path + suffix, { force: true })
    removeIfEmpty(dirname(path))
  },
}
export type WriterVerbs = typeof verbs

function insertFile(index: IndexFile, id: number, file: IndexedFile, text: string): void {
  index
    .prepare('insert into files (id, path, language) values (?, ?, ?)')
    .run(id, storable(file.path), file.language === null ? null : storable(file.language))
  index.prepare('insert into texts (id, text) values (?, ?)').run(id, text)
  index.prepare('insert into grams (rowid, folded) values (?, ?)').run(id, foldCase(text))
}

function inTransaction(index: IndexFile, work: () => void): void {
  index.database.exec('begin immediate')
  try {
    work()
    index.database.exec('commit')
  } catch (error) {
    if (index.database.isTransaction) index.database.exec('rollback')
    throw error
  }
}

function isSealed(index: IndexFile): boolean {
  return index.prepare('pragma user_version').get()?.user_version !== 0
}

function totalsOf(index: IndexFile): Totals {
  const row = index
    .prepare('select coalesce(sum(files), 0) as files, coalesce(sum(bytes), 0) as bytes from batches')
    .get()
  return { files: Number(row?.files), bytes: Number(row?.bytes) }
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error
  }
}

serveThread(verbs, () => open.closeAll())

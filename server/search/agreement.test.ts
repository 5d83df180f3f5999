import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/search.ts'
import fc from 'fast-check'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { publishMirror } from '../mirrors/mirrors.ts'
import { system } from '../platform/actor.ts'
import { dropIndex, prepareIndex, receiveFiles } from './search.ts'

// Where the engines' own rules differ: LIKE's wildcards, FTS5's syntax, letters that change case in odd ways (the Kelvin
// sign, the long s, dotted and dotless i, three sigmas), planes, controls.
const letters = [
  ...'aAbkK\u212asS\u017fiI\u0130\u0131\u03c3\u03c2\u03a3\u00e9\u00c9\u00df\u1e9e\u0436\u0416 😀_%\\"\'*()-.\t',
]
const character = fc.constantFrom(...letters)
const line = fc.string({ unit: character, maxLength: 12 })
const text = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\n\n', '')), { maxLength: 8 })
  .map((parts) => parts.flat().join(''))
const path = fc.string({ unit: fc.constantFrom(...'abAB/_%.é😀\uff5e'), minLength: 1, maxLength: 5 })
const language = fc.constantFrom(null, 'C', 'c++', 'TypeScript')
const file = fc.record({ path, language, text })
const corpus = fc.uniqueArray(file, { selector: ({ path }) => path, minLength: 1, maxLength: 8 })
type File = { path: string; language: string | null; text: string }

// A piece of a line more often than chance, so that most searches find something.
const search = corpus.chain((files) => {
  const lines = files.flatMap(({ text }) => text.split(/\r?\n/)).filter((line) => [...line].length >= 3)
  const chance = fc.string({ unit: character, minLength: 3, maxLength: 5 })
  const piece = fc.tuple(fc.constantFrom(...lines, 'xxx'), fc.nat(), fc.nat({ max: 3 })).map(([line, at, more]) => {
    const characters = [...line]
    const from = at % (characters.length - 2)
    return characters.slice(from, from + 3 + more).join('')
  })
  return fc.record({
    files: fc.constant(files),
    q: fc.oneof(piece, piece, chance),
    path: fc.option(fc.constantFrom('a', 'AB', '_', '%', 'é'), { nil: undefined, freq: 4 }),
    lang: fc.option(fc.constantFrom('c', 'C++', 'typescript'), { nil: undefined, freq: 4 }),
  })
})

/** The rule once more, by another engine: a case-insensitive Unicode regular expression over each line. */
function scan(files: File[], q: string, path: string | undefined, lang: string | undefined): string[] {
  const wanted = new RegExp(q.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'iu')
  return files
    .filter((file) => path === undefined || ascii(file.path).includes(ascii(path)))
    .filter((file) => lang === undefined || (file.language !== null && ascii(file.language) === ascii(lang)))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
    .flatMap((file) =>
      file.text.split('\n').flatMap((line, index) => {
        const shown = line.replace(/\r$/, '')
        return wanted.test(shown) ? [`${file.path}:${index + 1}:${shown.replaceAll('\t', ' ')}`] : []
      }),
    )
}

const ascii = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

async function readAll(hive: Hive, token: string, query: Record<string, string | undefined> & { q: string }) {
  const lines: string[] = []
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined))
  let cursor: string | null = null
  do {
    const page: { items: contract.SearchHit[]; nextCursor: string | null } = (
      await hive.call(contract.searchCode, { token, query: { ...given, limit: '3', ...(cursor && { cursor }) } })
    ).body
    lines.push(...page.items.map((item) => `${item.path}:${item.line}:${item.excerpt}`))
    cursor = page.nextCursor
  } while (cursor !== null)
  return lines
}

describeHive('search agrees with a plain scan', (open) => {
  test('on every text, pattern, path and language', { timeout: 300_000 }, async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    let token = 0
    await fc.assert(
      fc.asyncProperty(search, async ({ files, q, path, lang }) => {
        token++
        await receiveFiles(hive.ctx, { projectId, token, batch: 0, files })
        const source = { repository: 'r', commit: 'c', branch: null }
        const totals = await prepareIndex(hive.ctx, { projectId, token })
        assert.equal(totals.files, files.length)
        const replaced = await hive.ctx.db.transaction((tx) =>
          publishMirror(hive.ctx, tx, system, { projectId, token, ...source, ...totals }),
        )
        if (replaced !== null) await dropIndex(hive.ctx, projectId, replaced)
        assert.deepEqual(await readAll(hive, ada.token, { q, path, lang }), scan(files, q, path, lang))
      }),
      { numRuns: 150 },
    )
  })
})

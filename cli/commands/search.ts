import { type SearchHit, searchCode } from '@hivesync/contracts/search.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../command.ts'
import { connect } from '../context.ts'
import { projectOption, requireProject } from '../project-choice.ts'
import { dim, type Line, type Styled } from '../terminal.ts'
import { parseCount } from '../units.ts'

export const search = defineCommand({
  name: 'search',
  summary: 'find a text in ingested code; case is ignored',
  usage: 'QUERY',
  notes: [
    'Prints path:line: excerpt. Without --project every project you may read is searched.',
    'No hit is not an error.',
  ],
  options: {
    project: { ...projectOption, summary: 'name or id; every project unless given' },
    path: { type: 'string', value: 'PART', summary: 'only in files whose path contains this' },
    lang: { type: 'string', value: 'LANGUAGE', summary: 'only in this language' },
    limit: { type: 'string', short: 'n', value: 'N', summary: 'at most so many hits; 50 unless given' },
  },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal } = context
    const [q = ''] = context.arguments
    const connection = await connect(context)
    const limit = options.limit === undefined ? 50 : parseCount(options.limit, '--limit', { min: 1, max: 10_000 })
    const projectId = options.project === undefined ? undefined : (await requireProject(connection, options.project)).id
    const { items, nextCursor } = await listAll(
      (cursor) =>
        connection.client.call(searchCode, {
          query: { q, projectId, path: options.path, lang: options.lang, limit: String(Math.min(limit, 200)), cursor },
        }),
      limit,
    )
    if (items.length === 0) await terminal.note('No hits.')
    if (nextCursor !== null) await terminal.note(`There are more hits: say --limit ${limit * 2}`)
    return { json: { items, nextCursor }, lines: items.map((hit) => hitLine(hit, q)) }
  },
})

function hitLine({ path, line, excerpt }: SearchHit, query: string): Line {
  return [{ style: 'cyan', text: path }, dim(`:${line}: `), ...highlight(excerpt.trim(), query)]
}

/** The excerpt, cut where the query occurs in it. */
function highlight(excerpt: string, query: string): (string | Styled)[] {
  const folded = excerpt.toLowerCase()
  const wanted = query.toLowerCase()
  // Folding may change the length (İ): then places in one are not places in the other.
  if (folded.length !== excerpt.length || wanted === '') return [excerpt]
  const pieces: (string | Styled)[] = []
  let end = 0
  for (let at = folded.indexOf(wanted); at !== -1; at = folded.indexOf(wanted, end)) {
    pieces.push(excerpt.slice(end, at), { style: 'bold', text: excerpt.slice(at, at + wanted.length) })
    end = at + wanted.length
  }
  return [...pieces, excerpt.slice(end)]
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as contract from '@hivesync/contracts/search.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { findMirror, publishMirror } from '../mirrors/mirrors.ts'
import { system } from '../platform/actor.ts'
import { dropIndex, prepareIndex, receiveFiles } from './search.ts'

type Files = Record<string, string>
let lastToken = 0

async function build(hive: Hive, projectId: string, files: Files, language: string | null = null): Promise<number> {
  const token = ++lastToken
  const batch = Object.entries(files).map(([path, text]) => ({ path, text, language }))
  await receiveFiles(hive.ctx, { projectId, token, batch: 0, files: batch })
  return token
}

async function publish(hive: Hive, projectId: string, token: number): Promise<number | null> {
  const totals = await prepareIndex(hive.ctx, { projectId, token })
  const source = { repository: 'https://example.net/a.git', commit: 'c0ffee', branch: 'main' }
  return hive.ctx.db.transaction((tx) =>
    publishMirror(hive.ctx, tx, system, { projectId, token, ...source, ...totals }),
  )
}

async function ingest(hive: Hive, projectId: string, files: Files, language?: string): Promise<number | null> {
  return publish(hive, projectId, await build(hive, projectId, files, language))
}

async function search(hive: Hive, person: Person, query: { q: string; [name: string]: string }) {
  const { body } = await hive.call(contract.searchCode, { token: person.token, query })
  return body
}

async function places(hive: Hive, person: Person, query: { q: string; [name: string]: string }): Promise<string[]> {
  const { items } = await search(hive, person, query)
  return items.map(({ path, line }) => `${path}:${line}`)
}

describeHive('search', (open) => {
  test('matching lines come by path and line, whatever the case, with LF and CRLF', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await ingest(hive, projectId, { 'b.c': 'int MAIN;\r\n\r\nreturn main_loop\r\n', 'a.c': 'x\nmain()' }, 'C')
    const { items, nextCursor } = await search(hive, ada, { q: 'Main' })
    assert.equal(nextCursor, null)
    assert.deepEqual(items, [
      { projectId, path: 'a.c', line: 2, excerpt: 'main()', language: 'C' },
      { projectId, path: 'b.c', line: 1, excerpt: 'int MAIN;', language: 'C' },
      { projectId, path: 'b.c', line: 3, excerpt: 'return main_loop', language: 'C' },
    ])
  })

  test('percent, underscore, backslash, quotes and operators are literal', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const lines = ['a_b', 'axb', '50% of', '50x of', 'c:\\dir', 'c:/dir', `say "hi" it's`, 'foo AND bar', 'foo bar']
    await ingest(hive, await hive.project(ada), { f: lines.join('\n') })
    for (const q of ['a_b', '50%', ':\\d', '"hi" i', "t's", 'foo AND'])
      assert.deepEqual(await places(hive, ada, { q }), [`f:${lines.findIndex((line) => line.includes(q)) + 1}`], q)
  })

  test('path and language narrow a search, whatever the case of their letters', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await ingest(hive, projectId, { 'Src/a_b.ts': 'needle', 'src/axb.ts': 'needle', 'docs/x': 'needle' }, 'TypeScript')
    assert.deepEqual(await places(hive, ada, { q: 'needle', path: 'sRC/' }), ['Src/a_b.ts:1', 'src/axb.ts:1'])
    assert.deepEqual(await places(hive, ada, { q: 'needle', path: 'a_b' }), ['Src/a_b.ts:1'])
    assert.equal((await places(hive, ada, { q: 'needle', lang: 'TYPEscript' })).length, 3)
    assert.deepEqual(await places(hive, ada, { q: 'needle', lang: 'Type' }), [])
  })

  test('the code of projects one may not read is not found, and does not exist when asked for', async () => {
    await using hive = await open()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const [own, foreign] = [await hive.project(bob), await hive.project(ada)]
    await ingest(hive, own, { own: 'shared needle' })
    await ingest(hive, foreign, { foreign: 'shared needle' })
    assert.deepEqual(await places(hive, bob, { q: 'needle' }), ['own:1'])
    const refused = await hive.call(contract.searchCode, {
      token: bob.token,
      query: { q: 'needle', projectId: foreign },
    })
    assert.equal(refused.problem.code, 'project_not_found')

    const params = { projectId: foreign }
    const body = { username: 'bob', role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token: ada.token, params, body })
    assert.equal((await places(hive, bob, { q: 'needle' })).length, 2)
    const member = { projectId: foreign, userId: bob.userId }
    await hive.call(projects.removeProjectMember, { token: ada.token, params: member })
    assert.deepEqual(await places(hive, bob, { q: 'needle' }), ['own:1'])
  })

  test('a key bound to a project searches that one; a key without the scope searches none; nobody searches nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const [one, other] = [await hive.project(ada, 'one'), await hive.project(ada, 'other')]
    await ingest(hive, one, { one: 'needle' })
    await ingest(hive, other, { other: 'needle' })
    const makeKey = async (scope: 'search:read' | 'jobs:read', projectId?: string) => {
      const body = { name: 'key', scopes: [scope], projectId }
      const made = await hive.call(keys.createApiKey, { token: ada.token, body })
      return made.body.apiKey
    }
    const query = { q: 'needle' }
    const bound = await hive.call(contract.searchCode, { token: await makeKey('search:read', one), query })
    assert.deepEqual(
      bound.body.items.map((item) => item.path),
      ['one'],
    )
    const narrow = await hive.call(contract.searchCode, { token: await makeKey('jobs:read'), query })
    assert.equal(narrow.problem.code, 'permission_denied')
    assert.equal((await hive.call(contract.searchCode, { query })).status, 401)
  })

  test('an archived project stays searchable', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await ingest(hive, projectId, { a: 'needle' })
    await hive.call(projects.updateProject, { token: ada.token, params: { projectId }, body: { archived: true } })
    assert.deepEqual(await places(hive, ada, { q: 'needle' }), ['a:1'])
  })

  test('the old index is served until the new one is published, and a publication undone changes nothing', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    assert.equal(await ingest(hive, projectId, { old: 'needle' }), null)
    const token = await build(hive, projectId, { new: 'needle' })
    assert.deepEqual(await places(hive, ada, { q: 'needle' }), ['old:1'])
    const totals = await prepareIndex(hive.ctx, { projectId, token })
    const publication = { projectId, token, repository: 'r', commit: 'c', branch: null, ...totals }
    const undone = hive.ctx.db.transaction(async (tx) => {
      await publishMirror(hive.ctx, tx, system, publication)
      throw new Error('the completion failed')
    })
    await assert.rejects(undone, /the completion failed/)
    assert.deepEqual(await places(hive, ada, { q: 'needle' }), ['old:1'])

    const replaced = await publish(hive, projectId, token)
    assert.equal(replaced, token - 1)
    assert.deepEqual(await places(hive, ada, { q: 'needle' }), ['new:1'])
    await dropIndex(hive.ctx, projectId, token - 1)
    assert.deepEqual(await places(hive, ada, { q: 'needle' }), ['new:1'])
    const mirror = await findMirror(hive.ctx.db.kysely, projectId)
    assert.deepEqual([mirror?.indexToken, mirror?.files, mirror?.bytes], [token, 1, 6])
    const acts = await hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['projectId', 'teamId'])
      .where('action', '=', 'mirror.synced')
      .execute()
    assert.deepEqual(acts, Array(2).fill({ projectId, teamId: ada.teamId }))
  })

  test('pages give every line once, over files and projects, and no more than 50 lines of a file', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const expected: string[] = []
    for (const name of ['one', 'two', 'three']) {
      const projectId = await hive.project(ada, name)
      const files: Files = { 'z/many': 'needle\n'.repeat(60) }
      for (let file = 0; file < 5; file++) files[`${name}-${file}`] = 'x\nneedle\nneedle needle\n'
      await ingest(hive, projectId, files)
      for (let file = 0; file < 5; file++) expected.push(`${name}-${file}:2`, `${name}-${file}:3`)
      for (let line = 1; line <= 50; line++) expected.push(`z/many:${line}`)
    }
    for (const limit of ['1', '7', '60', '200']) {
      const seen: string[] = []
      let cursor: string | null = null
      do {
        const page = await search(hive, ada, { q: 'needle', limit, ...(cursor === null ? {} : { cursor }) })
        assert.ok(page.items.length <= Number(limit))
        seen.push(...page.items.map(({ path, line }) => `${path}:${line}`))
        cursor = page.nextCursor
      } while (cursor !== null)
      assert.deepEqual(seen, expected, `limit ${limit}`)
    }
  })

  test('a cursor that was changed, belongs to another search or to a replaced index is refused', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await ingest(hive, projectId, { a: 'needle\nneedle' })
    const { nextCursor } = await search(hive, ada, { q: 'needle', limit: '1' })
    assert.ok(nextCursor)
    const codeOf = async (query: { q: string; cursor: string; path?: string }) => {
      const reply = await hive.call(contract.searchCode, { token: ada.token, query })
      return reply.status === 200 ? 'found' : reply.problem.code
    }
    assert.equal(await codeOf({ q: 'needle', cursor: nextCursor }), 'found')
    const changed = `${nextCursor.startsWith('A') ? 'B' : 'A'}${nextCursor.slice(1)}`
    const forged = [
      changed,
      nextCursor.slice(0, -1),
      nextCursor.slice(0, 48),
      `${'A'.repeat(48)}.v1.AAAAAAAA.AAAA`,
      'x',
    ]
    for (const cursor of forged) assert.equal(await codeOf({ q: 'needle', cursor }), 'invalid_request', cursor)
    assert.equal(await codeOf({ q: 'needles', cursor: nextCursor }), 'invalid_request')
    assert.equal(await codeOf({ q: 'needle', path: 'a', cursor: nextCursor }), 'invalid_request')
    await ingest(hive, projectId, { a: 'needle\nneedle' })
    assert.equal(await codeOf({ q: 'needle', cursor: nextCursor }), 'invalid_request')
  })

  test('a text that is too short, too long or on two lines is refused', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    for (const q of ['', 'ab', '😀b', 'x'.repeat(201), 'abc\ndef', 'abc\0', 'abc\r']) {
      const reply = await hive.call(contract.searchCode, { token: ada.token, query: { q } })
      assert.equal(reply.problem.code, 'invalid_request', JSON.stringify(q))
    }
    assert.deepEqual(await places(hive, ada, { q: 'abc', path: 'a\0b', lang: '\0' }), [])
  })

  test('excerpts of huge lines and of characters outside the first plane are cut cleanly', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const emoji = '😀'.repeat(50_000)
    const text = `${'x'.repeat(1_000_000)}NEEDLE${'y'.repeat(900_000)}\n${emoji}needle${emoji}\n\ufeffneedle \ud800 \0 \u001b[31m`
    await ingest(hive, await hive.project(ada), { 'min.js': text, ['p/'.repeat(2000)]: 'needle' })
    const { items } = await search(hive, ada, { q: 'needle' })
    assert.deepEqual(
      items.map((item) => [item.path.length, item.line]),
      [
        [6, 1],
        [6, 2],
        [6, 3],
        [4000, 1],
      ],
    )
    assert.equal(items[0]?.excerpt, `${'x'.repeat(100)}NEEDLE${'y'.repeat(194)}`)
    assert.equal(items[1]?.excerpt, `${'😀'.repeat(50)}needle${'😀'.repeat(97)}`)
    assert.equal(items[2]?.excerpt, '\ufeffneedle \ufffd \ufffd \ufffd[31m')
  })

  test('a project whose ingest had no text has an empty index', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    await publish(hive, projectId, ++lastToken)
    assert.deepEqual(await search(hive, ada, { q: 'needle', projectId }), { items: [], nextCursor: null })
  })
})

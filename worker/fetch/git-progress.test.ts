import assert from 'node:assert/strict'
import { test } from 'node:test'
import { followGitProgress } from './git-progress.ts'
import { languageOf } from './languages.ts'
import { chooseRef } from './remote-refs.ts'

test('progress rises with git’s own and shows none of the server’s words', () => {
  const seen: string[] = []
  const follow = followGitProgress((percent, label) => seen.push(`${percent} ${label}`))
  const text = [
    'remote: Counting objects:  50% (1/2)\r',
    'remote: <script>alert(1)</script>\n',
    'Receiving objects:   0% (0/9)\r',
    'Receiving objects:  50% (4/9), 1.00 MiB | 2.00 MiB/s\r',
    'remote: Counting objects: 100% (2/2), done.\n',
    'remote: Receiving objects: 99% (2/2)\n',
    'Receiving objects: 100% (9/9), done.\nResolving deltas: 100% (3/3), done.\n',
  ].join('')
  for (const byte of Buffer.from(text)) follow(Buffer.of(byte))
  assert.deepEqual(seen, [
    '2 Server is counting objects',
    ...['15 Receiving objects', '50 Receiving objects', '85 Receiving objects', '99 Resolving deltas'],
  ])
})

test('a line without end is not buffered', () => {
  const follow = followGitProgress(() => assert.fail('reported'))
  for (let index = 0; index < 1_000; index += 1) follow(Buffer.alloc(10_000, 'x'))
})

test('a language is told by the whole name, then the extension', () => {
  const expected = {
    'a/b.ts': 'TypeScript',
    Makefile: 'Makefile',
    'x/Dockerfile': 'Dockerfile',
    'A.PY': 'Python',
    'a.h': 'C',
  }
  for (const [path, language] of Object.entries({
    ...expected,
    'a.b.unknown': 'Other',
    noext: 'Other',
    '.gitignore': 'Other',
  })) {
    assert.equal(languageOf(path), language, path)
  }
  assert.equal(languageOf('a.constructor'), 'Other')
})

const one = '1'.repeat(40)
const two = '2'.repeat(40)

test('the default branch is what HEAD names, then what it equals, then main, then the first', () => {
  const refs = `${one}\trefs/heads/a\n${two}\trefs/heads/main\n`
  assert.equal(chooseRef(`ref: refs/heads/a\tHEAD\n${one}\tHEAD\n${refs}`, undefined).branch, 'a')
  assert.equal(chooseRef(`${one}\tHEAD\n${refs}`, undefined).branch, 'a')
  assert.equal(chooseRef(refs, undefined).branch, 'main')
  assert.equal(chooseRef(`${one}\trefs/heads/z\n${one}\trefs/heads/y\n`, undefined).branch, 'z')
})

test('a branch goes before a tag of the same name, and only heads and tags count', () => {
  const refs = `${one}\trefs/heads/v1\n${two}\trefs/tags/v1\n${two}\trefs/pull/1/head\n${two}\trefs/x/refs/heads/odd\n`
  assert.deepEqual(chooseRef(refs, 'v1'), { revision: 'refs/heads/v1', branch: 'v1' })
  assert.deepEqual(chooseRef(refs, 'refs/tags/v1'), { revision: 'refs/tags/v1', branch: null })
  assert.deepEqual(chooseRef(refs, two), { revision: two, branch: null })
  for (const ref of ['refs/pull/1/head', 'odd', 'pull/1/head', two.slice(0, 8)]) {
    assert.throws(() => chooseRef(refs, ref), { code: 'ref_not_found' })
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTestFile, readSources, readText } from './source-tree.ts'

/** Events of live streams and messages between processes: they are in no log. */
const notLogged = new Set(['log', 'end', 'status', 'state', 'listening', 'enrolment'])
/** Written where no logger is. */
const writtenByHand = ['log_lines_lost']

const production = readSources().filter(({ path }) => !isTestFile(path))

function eventsIn(folders: readonly string[], pattern: RegExp): string[] {
  const found = new Set<string>()
  for (const { path } of production) {
    if (!folders.some((folder) => path.startsWith(folder))) continue
    for (const [, ...names] of readText(path).matchAll(pattern))
      for (const name of names) if (name !== undefined && !notLogged.has(name)) found.add(name)
  }
  return [...found].sort()
}

function listed(part: string): string[] {
  const text =
    readText('docs/logs.md')
      .split('\n## ')
      .find((each) => each.startsWith(part)) ?? ''
  return [...text.matchAll(/^\| `([a-z_]+)` \| (?:info|warn|error) \| \S/gm)].map(([, name = '']) => name).sort()
}

test('docs/logs.md lists every event that the server logs, and no other', () => {
  const logged = eventsIn(
    ['server/', 'start/'],
    /\bevent: (?:[\w.]+ === null \? )?'([a-z_]+)'(?: : '([a-z_]+)')?|\beachOf\(\s*ctx,\s*'([a-z_]+)'/g,
  )
  assert.deepEqual(listed('The server'), [...logged, ...writtenByHand].sort())
})

test('docs/logs.md lists every event that a worker logs, and no other', () => {
  assert.deepEqual(listed('The worker'), eventsIn(['worker/'], /\blog\.(?:info|warn|error)\(\s*'([a-z_]+)'/g))
})

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { errorCatalog } from '../../contracts/errors.ts'
import { listFiles, readText, rootDirectory } from './source-tree.ts'

const files = listFiles()
const npmVerbs = ['ci', 'install', 'exec', 'audit', 'sbom', 'pack', 'publish', 'view', 'ls', 'outdated']

function has(path: string): boolean {
  return existsSync(join(rootDirectory, path))
}

/** The names at the start of each line of a drawn tree, joined with the folders they are indented under. */
function readTree(block: string): string[] {
  const parents: { indent: number; path: string }[] = []
  return block.split('\n').flatMap((line) => {
    const indent = line.search(/\S/)
    if (indent < 0) return []
    while ((parents.at(-1)?.indent ?? -1) >= indent) parents.pop()
    const parent = parents.at(-1)?.path ?? ''
    const names: string[] = []
    for (const word of line.trim().split(/\s+/)) {
      // A folder ends in a slash, a file has an extension; the first other word begins the description.
      if (!/^\.?[\w-]+(?:[./][\w-]+)*(?:\/|\.(?:ts|md|json|sql|sh))$/.test(word)) break
      names.push(`${parent}${word}`)
    }
    const [first] = names
    if (first?.endsWith('/')) parents.push({ indent, path: first })
    return names
  })
}

test('a drawn tree is read as paths', () => {
  const tree =
    'start.ts   the start\nserver/    the plane\n  main.ts  the process\n  a/ b/    one folder per noun\nworker/  x'
  assert.deepEqual(readTree(tree), ['start.ts', 'server/', 'server/main.ts', 'server/a/', 'server/b/', 'worker/'])
})

test('ARCHITECTURE.md draws only what exists, and every folder at the top', () => {
  if (!has('ARCHITECTURE.md')) return
  const [, block] = /```[a-z]*\n([\s\S]*?)```/.exec(readText('ARCHITECTURE.md')) ?? []
  const drawn = readTree(block ?? '')
  assert.deepEqual(
    drawn.filter((path) => !has(path)),
    [],
    'drawn, but not there',
  )
  const top = new Set(
    files.filter((path) => path.includes('/') && !path.startsWith('.')).map((path) => path.split('/')[0]),
  )
  const missing = [...top].filter(
    (folder) => !drawn.some((path) => path === `${folder}/` || path.startsWith(`${folder}/`)),
  )
  assert.deepEqual(missing, [], 'there, but not drawn')
})

test('documents name only npm scripts that exist', () => {
  const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> }
  for (const path of files.filter((name) => name.endsWith('.md'))) {
    for (const [command, run, name = ''] of readText(path).matchAll(/\bnpm (run )?([a-z][\w:-]*)/g)) {
      const isKnown = name in scripts || (!run && npmVerbs.includes(name))
      assert.ok(isKnown, `${path} says "${command}"`)
    }
  }
})

test('links between documents lead somewhere', () => {
  for (const path of files.filter((name) => name.endsWith('.md'))) {
    const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
    for (const [, target = ''] of readText(path).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      assert.ok(has(join(folder, target)), `${path} links to ${target}`)
    }
  }
})

test('docs/errors.md lists exactly the catalog of errors, with their status', () => {
  if (!has('docs/errors.md')) return
  const rows = readText('docs/errors.md')
    .split('\n')
    .filter((line) => /^\|\s*`/.test(line))
  const listed = rows.map((row) => {
    const code = /`([a-z_]+)`/.exec(row)?.[1] ?? row
    return [code, Number(/\|\s*`?(\d{3})`?\s*\|/.exec(row)?.[1])]
  })
  const catalog = Object.entries(errorCatalog).map(([code, [status]]) => [code, status])
  assert.deepEqual(Object.fromEntries(listed), Object.fromEntries(catalog))
  assert.equal(listed.length, catalog.length, 'a code is listed twice')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scanSource } from './scan-source.ts'

const specifiers = (source: string) => scanSource(source).imports.map((found) => found.specifier)

test('every way of importing is found', () => {
  const source = [
    "import 'bare'",
    "import a from 'default'",
    "import type { B } from 'type'",
    "import {\n  c,\n  type D,\n} from 'many'",
    "import * as e from 'star'",
    "export { f } from 'again'",
    "export * from 'all'",
    "const g = await import('later')",
    "const h = await import(\n  'wrapped'\n)",
    "type I = import('inline').I",
  ].join('\n')
  assert.deepEqual(specifiers(source), [
    'bare', 'default', 'type', 'many', 'star', 'again', 'all', 'later', 'wrapped', 'inline',
  ]) // biome-ignore format: one line reads better
})

test('what only looks like an import is not one', () => {
  const source = [
    "// import 'comment'",
    "/* import 'block'\nimport 'block' */",
    'const a = "import \'string\'"',
    "const b = `\nimport 'template'\n`",
    "const c = /import 'regex'/",
    "const d = Array.from('text')",
    "export const from = 'value'",
  ].join('\n')
  assert.deepEqual(specifiers(source), [])
})

test('quotes and slashes in regular expressions and templates do not swallow what follows', () => {
  const source = [
    `const a = /['"\`/]/.test(b) ? c / d / e : \`\${f ? \`x\${'}'}\` : '\`'}\``,
    "const url = 'https://example.com' // Date.now()",
    "import 'after'",
    'g(Date.now)',
  ].join('\n')
  const { code, imports } = scanSource(source)
  assert.deepEqual(
    imports.map((found) => found.specifier),
    ['after'],
  )
  assert.equal(code.match(/Date\.now/g)?.length, 1)
  assert.equal(code.length, source.length)
  assert.equal(imports[0]?.line, 3)
})

test('code inside a template is code', () => {
  const { code } = scanSource(`const a = \`\${Date.now()} Math.random()\``)
  assert.match(code, /Date\.now/)
  assert.doesNotMatch(code, /Math/)
})

// What comes in from outside, and what must not go out.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { billOfMaterials } from '../../deploy/supply-chain/bill-of-materials.ts'
import { listFiles, readText } from './source-tree.ts'

interface LockedPackage {
  version?: string
  integrity?: string
  license?: string
  dev?: boolean
  link?: boolean
}
const packages = JSON.parse(readText('package-lock.json')).packages as Record<string, LockedPackage>
const foreign = Object.entries(packages).filter(([path, { link }]) => path.includes('node_modules/') && link !== true)

test('the bill of materials holds every package that runs in production, with its digest, and no other', () => {
  const { components, ...document } = billOfMaterials()
  assert.deepEqual([document.bomFormat, document.specVersion], ['CycloneDX', '1.6'])
  const expected = new Set(
    foreign
      .filter(([, { dev }]) => dev !== true)
      .map(([path, { version }]) => `${path.slice(path.lastIndexOf('node_modules/') + 13)}@${version}`),
  )
  assert.deepEqual(new Set(components.map(({ name, version }) => `${name}@${version}`)), expected)
  for (const { name, purl, hashes, licenses } of components) {
    assert.match(purl, /^pkg:npm\/(%40[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+/, name)
    assert.ok(licenses.length === 1, name)
    for (const { content } of hashes ?? []) assert.match(content, /^[0-9a-f]{128}$/, name)
  }
  assert.ok(components.some(({ name }) => name === 'fastify'))
  assert.ok(!components.some(({ name }) => name === 'better-auth'))
})

test('every package is under a license that asks for no more than to be named', () => {
  const permissive = new Set([
    'MIT',
    'MIT-0',
    'ISC',
    '0BSD',
    'BSD-2-Clause',
    'BSD-3-Clause',
    'Apache-2.0',
    'Unlicense',
    'Python-2.0',
  ])
  const others = foreign
    .map(([path, { license = 'none' }]) => [path, license] as const)
    .filter(
      ([, license]) =>
        !license
          .replace(/[()]/g, '')
          .split(' OR ')
          .some((id) => permissive.has(id)),
    )
  assert.deepEqual(others, [])
  assert.match(readText('LICENSE'), /Apache License\s+Version 2\.0/)
  assert.equal(JSON.parse(readText('package.json')).license, 'Apache-2.0')
})

/** What gives a credential away wherever it stands. Made of pieces, so that this file is none. */
const credentials: Record<string, RegExp> = {
  'a private key': new RegExp(`-----BEGIN ${'(?:[A-Z]+ )?'}PRIVATE KEY-----[\\s\\\\n]*[A-Za-z0-9+/]{40}`),
  // But the one of the guide, which shows what the checksum is of.
  'an API key of ours': /\bhs_(?:live|test)_(?!0123456789ABCDEF)[0-9A-Za-z]{57}\b/,
  'a webhook secret': /\bwhs(?:ec|k)_[A-Za-z0-9+/]{32,}/,
  'a key of AWS': /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/,
  'a token of GitHub': /\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{60,})\b/,
  'a token of GitLab': /\bglpat-[\w-]{20}\b/,
  'a token of npm': /\bnpm_[0-9A-Za-z]{36}\b/,
  'a token of Slack': /\bxox[abpr]-\d{8,}-[\w-]{10,}/,
  'a key of Google': /\bAIza[\w-]{35}\b/,
  'a key of Stripe': /\b[rs]k_live_[0-9A-Za-z]{20,}/,
  'a key of an AI service': /\bsk-(?:ant-|proj-)?[\w-]{32,}/,
  'a password in an address':
    /\b(?:postgres|redis|https?|smtps?):\/\/[^\s:/@'"`$]+:(?!PASSWORD|password|secret\b|pw\b|\$)[^\s:/@'"`$]{12,}@/,
}

/** Files of tests in which such a text is made up to be found: what they hold opens nothing. */
const madeUp = /\.test\.ts$|^test\/|\/test-[^/]+$|\/testing\.ts$|\/test-support\//

test('no file holds a credential, and no file is there that usually does', () => {
  const files = listFiles().filter((path) => !madeUp.test(path))
  const found = files.flatMap((path) => {
    const text = readText(path)
    return Object.entries(credentials).flatMap(([what, pattern]) => (pattern.test(text) ? [`${path}: ${what}`] : []))
  })
  assert.deepEqual(found, [])
  assert.deepEqual(
    listFiles().filter((path) => /(^|\/)(\.env|\.netrc|id_(rsa|ed25519)|.*\.(pem|p12|pfx|key|kdbx))$/.test(path)),
    [],
  )
})

test('each pattern of a credential finds one', () => {
  const letters = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7'.repeat(4)
  const samples: Record<string, string> = {
    'a private key': `-----BEGIN ${''}PRIVATE KEY-----\n${letters.slice(0, 60)}`,
    'an API key of ours': `hs_live_${letters.slice(0, 57)}`,
    'a webhook secret': `whsec_${letters.slice(0, 40)}`,
    'a key of AWS': `AKIA${letters.toUpperCase().slice(0, 16)}`,
    'a token of GitHub': `ghp_${letters.slice(0, 36)}`,
    'a token of GitLab': `glpat-${letters.slice(0, 20)}`,
    'a token of npm': `npm_${letters.slice(0, 36)}`,
    'a token of Slack': `xoxb-123456789-${letters.slice(0, 20)}`,
    'a key of Google': `AIza${letters.slice(0, 35)}`,
    'a key of Stripe': `sk_live_${letters.slice(0, 24)}`,
    'a key of an AI service': `sk-ant-${letters.slice(0, 40)}`,
    'a password in an address': `postgres://hive:${letters.slice(0, 20)}@db.example.net/hive`,
  }
  for (const [what, pattern] of Object.entries(credentials)) assert.match(samples[what] ?? '', pattern, what)
})

const workflows = listFiles('.github/workflows')

test('the forge runs pinned actions with the least rights, and never a stranger’s change with a secret', () => {
  assert.ok(workflows.length > 0)
  for (const path of workflows) {
    const text = readText(path)
    assert.match(text, /^permissions: \{\}$/m, `${path}: rights are given job by job`)
    assert.doesNotMatch(text, /pull_request_target|workflow_run|write-all|secrets\./, path)
    for (const [, action = '', version] of text.matchAll(/uses: (\S+)(?: # (v\d+\.\d+\.\d+))?/g)) {
      assert.match(action, /^actions\/[\w-]+@[0-9a-f]{40}$/, `${path}: ${action} may become something else`)
      assert.ok(version !== undefined, `${path}: ${action} does not say which version it is`)
    }
    for (const checkout of text.split('uses: actions/checkout@').slice(1))
      assert.match(
        checkout.split('- ')[0] ?? '',
        /persist-credentials: false/,
        `${path}: the token stays in the checkout`,
      )
    // What others write (titles, branches, messages) must not become part of a script.
    for (const [, script = ''] of text.matchAll(/run: (.*)/g)) assert.doesNotMatch(script, /\$\{\{/, path)
    if (/^\s+pull_request:/m.test(text)) assert.doesNotMatch(text, /: write/, `${path}: a stranger's change may write`)
  }
})

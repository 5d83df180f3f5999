import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRepositoryUrl, type RepositoryRefusalCode, RepositoryRefused } from './repository-url.ts'

const refusals: readonly (readonly [rule: string, code: RepositoryRefusalCode, texts: readonly string[]])[] = [
  ['an empty text', 'empty', ['']],
  ['an over-long URL', 'too_long', [`https://example.org/${'a'.repeat(2048)}`]],
  [
    'a text git would take for an option',
    'option_like',
    ['--upload-pack=touch$IFS/tmp/x', '-u/bin/sh', '-', '--config=core.sshCommand=x'],
  ],
  [
    'a remote helper',
    'remote_helper',
    ['ext::sh -c id'.replaceAll(' ', '%S'), 'fd::17/foo', 'https::https://example.org/a'],
  ],
  [
    'another scheme',
    'scheme_not_allowed',
    [
      'http://example.org/a',
      'ssh://git@example.org/a',
      'git://example.org/a',
      'ftp://example.org/a',
      'git+ssh://h/a',
      'javascript://h/a',
    ],
  ],
  ['an scp-like address', 'scp_like', ['git@example.org:a/b.git', 'example.org:a', '-oProxyCommand=x@h:a'.slice(1)]],
  ['a local path without file:', 'malformed', ['/etc', './a', '../a', 'a/b', 'example.org/a']],
  [
    'control characters, spaces, backslashes and invisible characters',
    'control_characters',
    [
      'https://example.org/a\nb',
      'https://example.org/a\r',
      'https://exa\tmple.org/a',
      ' https://example.org/a',
      'https:\\\\example.org/a',
      'https://example.org/\u202ea',
      'https://example.org/\0',
      'https://exa\u200bmple.org/a',
      'https://example.org/\ud800',
    ],
  ],
  [
    'credentials',
    'credentials',
    [
      'https://user:token@example.org/a',
      'https://token@example.org/a',
      'https://@example.org/a',
      'https://example.org@evil.org/a',
      'https://:@h.org/a',
    ],
  ],
  [
    'a query or fragment',
    'query_or_fragment',
    ['https://example.org/a?x=1', 'https://example.org/a#b', 'https://example.org?/a'],
  ],
  [
    'a host alone',
    'no_path',
    ['https://example.org', 'https://example.org/', 'https://example.org/a/..', 'https://example.org/%2e%2e'],
  ],
  [
    'a malformed host, port or path',
    'malformed',
    [
      'https:///a',
      'https://example.org:0/a',
      'https://example.org:65536/a',
      'https://exa$mple.org/a',
      'https://[::1/a',
      'https://256.1.1.1/a',
      'https://example.org//a',
      'https://a..b/c',
      'https://./c',
      'https://',
    ],
  ],
  ['a relative or encoded local path', 'malformed', ['file://host/a', 'file://a', 'file:///a%2e%2e', 'file:///a?b']],
  ['a local path that walks', 'local_not_allowed', ['file:///srv/../etc', 'file:///srv/./a', 'file:///..']],
]

for (const [rule, code, texts] of refusals) {
  test(`${rule} is refused as ${code}`, () => {
    for (const text of texts) {
      assert.throws(
        () => parseRepositoryUrl(text),
        (error) => error instanceof RepositoryRefused && error.code === code,
        JSON.stringify(text),
      )
    }
  })
}

test('a refusal repeats nothing of the submitted text', () => {
  assert.throws(
    () => parseRepositoryUrl('https://me:canary-secret@example.org/a'),
    (error) =>
      error instanceof RepositoryRefused && !JSON.stringify([error.message, error.stack]).includes('canary-secret'),
  )
})

test('an https URL is normalised the way a URL parser reads it', () => {
  const expected = {
    kind: 'https',
    url: 'https://example.org/A/b.git',
    host: 'example.org',
    port: 443,
    hostKind: 'name',
  }
  assert.deepEqual(parseRepositoryUrl('https://example.org/A/b.git'), expected)
  assert.deepEqual(parseRepositoryUrl('HTTPS://EXAMPLE.org.:443/x/../A/b.git'), expected)
  assert.deepEqual(parseRepositoryUrl('https://bücher.example:8443/a'), {
    ...{ kind: 'https', url: 'https://xn--bcher-kva.example:8443/a', host: 'xn--bcher-kva.example' },
    ...{ port: 8443, hostKind: 'name' },
  })
})

test('every notation of an address is recognised as the address it means', () => {
  for (const text of [
    '127.1',
    '0x7f.1',
    '2130706433',
    '0177.0.0.1',
    '127.0.0.1',
    '①②⑦.0.0.1',
    '127%2e0.0.1',
    '127.0.0.1.',
  ]) {
    const url = parseRepositoryUrl(`https://${text}/a`)
    assert.ok(url.kind === 'https' && url.host === '127.0.0.1' && url.hostKind === 'ipv4', text)
  }
  const mapped = parseRepositoryUrl('https://[::ffff:127.0.0.1]:8443/a')
  assert.ok(
    mapped.kind === 'https' && mapped.host === '::ffff:7f00:1' && mapped.hostKind === 'ipv6' && mapped.port === 8443,
  )
  assert.equal(mapped.url, 'https://[::ffff:7f00:1]:8443/a')
})

test('single-label names are told apart from public ones', () => {
  const url = parseRepositoryUrl('https://localhost/a')
  assert.ok(url.kind === 'https' && url.hostKind === 'single-label')
})

test('a local path is kept as written', () => {
  assert.deepEqual(parseRepositoryUrl('file:///srv/repos/a.git'), { kind: 'file', path: '/srv/repos/a.git' })
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  maxRepositoryUrlLength,
  parseRepositoryUrl,
  type RepositoryRefusalCode,
  RepositoryRefused,
} from './repository-url.ts'

function refusalOf(text: string): RepositoryRefusalCode | undefined {
  try {
    parseRepositoryUrl(text)
    return undefined
  } catch (error) {
    assert.ok(error instanceof RepositoryRefused, String(error))
    return error.code
  }
}

test('an https address is read as git and curl would read it', () => {
  const read = (text: string) => {
    const url = parseRepositoryUrl(text)
    return url.kind === 'https' ? [url.url, url.host, url.port, url.hostKind] : assert.fail()
  }
  assert.deepEqual(read('https://git.test/a/b.git'), ['https://git.test/a/b.git', 'git.test', 443, 'name'])
  assert.deepEqual(read('HTTPS://Git.Test:443/a'), ['https://git.test/a', 'git.test', 443, 'name'])
  assert.deepEqual(read('https://git.test.:8443/a'), ['https://git.test:8443/a', 'git.test', 8443, 'name'])
  assert.deepEqual(read('https://forge/a'), ['https://forge/a', 'forge', 443, 'single-label'])
})

test('an address in numbers is seen as one, in whatever notation', () => {
  for (const host of ['127.0.0.1', '2130706433', '0x7f.1', '0177.0.0.1', '127.1', '0x7f000001', '１２７.0.0.1']) {
    const url = parseRepositoryUrl(`https://${host}/a`)
    assert.ok(url.kind === 'https' && url.hostKind === 'ipv4' && url.host === '127.0.0.1', host)
  }
  for (const host of ['[::1]', '[::ffff:127.0.0.1]', '[0:0:0:0:0:0:0:1]']) {
    const url = parseRepositoryUrl(`https://${host}/a`)
    assert.ok(url.kind === 'https' && url.hostKind === 'ipv6', host)
  }
})

test('a local repository is an absolute path without escapes', () => {
  assert.deepEqual(parseRepositoryUrl('file:///srv/git/a.git'), { kind: 'file', path: '/srv/git/a.git' })
})

describe('an address is refused', () => {
  const refused: Record<RepositoryRefusalCode, string[]> = {
    empty: [''],
    too_long: [`https://git.test/${'a'.repeat(maxRepositoryUrlLength)}`],
    control_characters: [
      'https://git.test/a\nb',
      'https://git.test/ a',
      'https://git.test\\@evil.test/a',
      'https://git.test/\u202ea',
      'https://git.test/\0',
      '\thttps://git.test/a',
      'https://git.test/\ud800',
    ],
    option_like: ['--upload-pack=touch', '-oProxyCommand=x', '-'],
    remote_helper: ['ext::sh', 'fd::17', 'EXT::sh', 'https::https://git.test/a'],
    scp_like: ['git@git.test:a/b.git', 'git.test:a'],
    scheme_not_allowed: ['http://git.test/a', 'ssh://git.test/a', 'git://git.test/a', 'ftp://git.test/a', 'data://a/b'],
    malformed: [
      '/srv/git',
      'git.test/a',
      'https://',
      'https:///a',
      'https://git.test:99999/a',
      'https://git.test:0/a',
      'https://git..test/a',
      'https://git.test//a',
      'https://%2e/a',
      'file://host/a',
      'file:///a%2e%2e/b',
      'file:///a?b',
      'https://[::1/a',
    ],
    credentials: [
      'https://user@git.test/a',
      'https://user:pw@git.test/a',
      'https://:pw@git.test/a',
      'https://@git.test/a',
    ],
    query_or_fragment: ['https://git.test/a?b', 'https://git.test/a#b'],
    no_path: ['https://git.test', 'https://git.test/'],
    local_not_allowed: ['file:///srv/../etc', 'file:///srv/./a', 'file:///..'],
    host_not_allowed: [],
    address_not_public: [],
    local_not_found: [],
    local_not_readable: [],
  }
  for (const [code, texts] of Object.entries(refused)) {
    for (const text of texts) {
      test(`as ${code}: ${JSON.stringify(text.slice(0, 40))}`, () => assert.equal(refusalOf(text), code))
    }
  }
})

test('whatever is accepted is what was checked, and a refusal repeats nothing of it', () => {
  const part = fc.constantFrom(
    'https://',
    'file://',
    'git.test',
    '/',
    'a',
    '@',
    ':',
    '%2e',
    '..',
    '-',
    '[::1]',
    '?',
    '#',
    '127.1',
    '\\',
    'é',
    '\n',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(part, { maxLength: 8 }).map((parts) => parts.join('')),
        fc.string(),
        fc.webUrl(),
      ),
      (text) => {
        try {
          const url = parseRepositoryUrl(text)
          if (url.kind === 'file') return assert.doesNotMatch(url.path, /(^|\/)\.{1,2}(\/|$)|[%?#\\\s]/)
          assert.equal(new URL(url.url).href, url.url)
          assert.match(url.url, /^https:\/\/[^/@?#\\\s]+\/[^?#\\\s]+$/)
        } catch (error) {
          assert.ok(error instanceof RepositoryRefused)
          if (text.length > 12) assert.ok(!error.message.includes(text))
        }
      },
    ),
    { numRuns: 2000 },
  )
})

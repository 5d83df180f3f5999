import assert from 'node:assert/strict'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type RepositoryRefusalCode, RepositoryRefused } from '@hivesync/contracts/repository-url.ts'
import { judgeRepository, type RepositoryPolicy } from './repository-policy.ts'
import { makeFolder } from './test-support/git-repository.ts'

const nothing: RepositoryPolicy = { privateHosts: [], localRepos: [] }

async function assertRefused(text: string, policy: RepositoryPolicy, code: RepositoryRefusalCode): Promise<void> {
  await assert.rejects(judgeRepository(text, policy), (error) => {
    assert.ok(error instanceof RepositoryRefused, text)
    assert.equal(error.code, code, text)
    return true
  })
}

test('a public name or address may be fetched', async () => {
  const expected = { kind: 'https', url: 'https://example.org/a', host: 'example.org', port: 443 }
  assert.deepEqual(await judgeRepository('https://example.org/a', nothing), expected)
  assert.equal((await judgeRepository('https://1.1.1.1/a', nothing)).kind, 'https')
})

test('private addresses are refused in every notation', async () => {
  const hosts = [
    '127.0.0.1',
    '127.1',
    '0x7f.1',
    '2130706433',
    '0177.0.0.1',
    '10.0.0.8',
    '192.168.1.1',
    '172.20.0.1',
    '100.64.0.1',
  ]
  const more = [
    '169.254.169.254',
    '0xa9fea9fe',
    '0',
    '[::1]',
    '[::]',
    '[::ffff:10.0.0.1]',
    '[fd00::1]',
    '[fe80::1]',
    '[64:ff9b::a00:1]',
  ]
  for (const host of [...hosts, ...more]) await assertRefused(`https://${host}/a`, nothing, 'address_not_public')
})

test('names without a dot and names below localhost are refused', async () => {
  for (const host of ['localhost', 'git', 'api.localhost', 'LOCALHOST.']) {
    await assertRefused(`https://${host}/a`, nothing, 'host_not_allowed')
  }
})

test('a private host is allowed only with exactly the listed port', async () => {
  const policy = { privateHosts: ['git:8443', '127.0.0.1:9443', '[::1]:9443'], localRepos: [] }
  for (const url of [
    'https://git:8443/a',
    'https://127.0.0.1:9443/a',
    'https://0x7f.1:9443/a',
    'https://[::1]:9443/a',
  ]) {
    assert.equal((await judgeRepository(url, policy)).kind, 'https')
  }
  await assertRefused('https://git/a', policy, 'host_not_allowed')
  await assertRefused('https://127.0.0.1:9444/a', policy, 'address_not_public')
})

test('a local repository must lie under a listed prefix', async () => {
  await using folder = await makeFolder()
  const repos = join(folder.path, 'repos')
  await mkdir(join(repos, 'a.git'), { recursive: true })
  await mkdir(join(folder.path, 'repos-secret'))
  const policy = { privateHosts: [], localRepos: [repos] }
  assert.deepEqual(await judgeRepository(`file://${repos}/a.git`, policy), { kind: 'file', path: join(repos, 'a.git') })
  await assertRefused(`file://${folder.path}/repos-secret`, policy, 'local_not_allowed')
  await assertRefused('file:///etc', policy, 'local_not_allowed')
  await assertRefused(`file://${repos}/../repos-secret`, policy, 'local_not_allowed')
  await assertRefused(`file://${repos}/a.git`, nothing, 'local_not_allowed')
  await assertRefused(`file://${repos}/a.git`, { privateHosts: [], localRepos: ['/'] }, 'local_not_allowed')
})

test('outside the prefixes, what exists and what does not get the same answer', async () => {
  await using folder = await makeFolder()
  const policy = { privateHosts: [], localRepos: [folder.path] }
  await assertRefused('file:///etc/passwd', policy, 'local_not_allowed')
  await assertRefused('file:///etc/no-such-thing', policy, 'local_not_allowed')
  await assertRefused(`file://${folder.path}/no-such-thing`, policy, 'local_not_found')
})

test('a symlink under a prefix does not lead out of it, and a prefix may itself be a symlink', async () => {
  await using folder = await makeFolder()
  const repos = join(folder.path, 'repos')
  await mkdir(join(repos, 'a.git'), { recursive: true })
  await mkdir(join(folder.path, 'secret'))
  await symlink('../secret', join(repos, 'way-out'))
  await symlink('a.git', join(repos, 'inner'))
  await symlink('repos', join(folder.path, 'alias'))
  const policy = { privateHosts: [], localRepos: [join(folder.path, 'alias')] }
  await assertRefused(`file://${repos}/way-out`, policy, 'local_not_allowed')
  const real = { kind: 'file', path: join(repos, 'a.git') }
  assert.deepEqual(await judgeRepository(`file://${repos}/inner`, policy), real)
  assert.deepEqual(await judgeRepository(`file://${folder.path}/alias/a.git`, policy), real)
})

test('a file is no repository', async () => {
  await using folder = await makeFolder()
  await writeFile(join(folder.path, 'bundle'), '')
  await assertRefused(
    `file://${folder.path}/bundle`,
    { privateHosts: [], localRepos: [folder.path] },
    'local_not_found',
  )
})

test('a root worker refuses a folder its sandbox users cannot read', { skip: process.getuid?.() !== 0 }, async () => {
  await using folder = await makeFolder()
  await mkdir(join(folder.path, 'home', 'a.git'), { recursive: true })
  await chmod(join(folder.path, 'home'), 0o700)
  const policy = { privateHosts: [], localRepos: [folder.path] }
  await assertRefused(`file://${folder.path}/home/a.git`, policy, 'local_not_readable')
})

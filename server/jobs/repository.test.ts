import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/jobs.ts'
import { describeHive } from '../../test/harness/hive.ts'

// Loopback, private, link-local, shared, documentation, benchmarking, multicast, reserved; in every notation that some parser reads.
const notPublic = [
  ...[
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '0x7f.1',
    '0',
    '0.0.0.0',
    '10.0.0.1',
    '172.16.0.1',
  ],
  ...[
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '198.18.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '224.0.0.1',
    '240.0.0.1',
  ],
  ...[
    '255.255.255.255',
    '127.0.0.1.',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[::a00:1]',
  ],
  ...[
    '[fe80::1]',
    '[fc00::1]',
    '[fd12::1]',
    '[fec0::1]',
    '[ff02::1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::1]',
    '[2002:7f00:1::]',
  ],
  ...['[2001::1]', '[2001:db8::1]', '[3fff::1]', '[100::1]', '[4000::1]', '[::ffff:0:7f00:1]'],
  ...['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', '１２７.0.0.1', 'ⓛocalhost'],
]

const harmful = [
  ...['--upload-pack=touch$IFS', '-oProxyCommand=x', 'ext::sh -c id', 'fd::17', 'transport::address'],
  ...['http://example.net/a.git', 'git://example.net/a.git', 'ssh://example.net/a.git', 'git@example.net:a.git'],
  ...['ftp://example.net/a', 'javascript:alert(1)', 'data:,a', 'example.net/a', '/srv/repos/a', '../a', 'C:\\repos\\a'],
  ...['https://user:secret@example.net/a.git', 'https://token@example.net/a.git', 'https://@example.net/a.git'],
  ...['https://example.net/a.git?x=1', 'https://example.net/a.git#x', 'https://example.net', 'https://example.net/'],
  ...['https:///a.git', 'https://example.net:0/a.git', 'https://example.net:99999/a.git', 'https://exa mple.net/a.git'],
  ...[
    'https://example.net/a\n.git',
    'https://example.net/a\0.git',
    'https://example.net/\u202ea.git',
    ' https://example.net/a',
  ],
  ...[
    'https://-option/a.git',
    'https://exam_ple..net/a.git',
    'file:///etc',
    'file:///srv/repos/../../etc',
    'file:///srv/repos',
  ],
  ...['file://host/srv/repos/a', 'file:///srv/repositories/a', 'file:///srv/repos/%2e%2e/etc', 'file:////srv/repos/a'],
]

describeHive('repositories at submission', (open) => {
  test('what is not a plain public https address, nor a folder that the operator listed, is refused and stored nowhere', async () => {
    await using hive = await open({ config: { localRepos: ['/srv/allowed/', '/srv/repo'] } })
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const ask = (repository: string) =>
      hive.call(contract.submitJob, {
        ...{ token: ada.token, params: { projectId } },
        body: { kind: 'ingest', input: { repository } },
      })
    for (const repository of [...notPublic.map((host) => `https://${host}/a.git`), ...harmful]) {
      const reply = await ask(repository)
      assert.equal(reply.status, 400, repository)
      assert.equal(reply.problem.code, 'repository_refused', repository)
      assert.ok(reply.problem.detail, repository)
      assert.equal(reply.problem.detail.includes('secret'), false)
    }
    assert.equal((await ask('')).problem.code, 'invalid_request')
    assert.equal((await ask(`https://example.net/${'a'.repeat(2048)}`)).problem.code, 'invalid_request')
    assert.equal((await hive.ctx.db.kysely.selectFrom('jobs').select('id').execute()).length, 0)
    assert.equal(hive.logged.join('').includes('secret'), false)

    const accepted = ['https://example.net/a.git', 'https://EXAMPLE.net:8443/a/b', 'https://8.8.8.8/a', 'https://git/a']
    accepted.push('https://[2606:4700::1111]/a', 'file:///srv/allowed/a.git', 'file:///srv/repo')
    for (const repository of accepted) assert.equal((await ask(repository)).status, 201, repository)
  })

  test('refs that git could take for options or ranges are refused', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (const ref of ['--all', '-', 'a..b', 'a b', 'a:b', '^a', 'a~1', 'a//b', '', '@{-1}', 'a\nb']) {
      const body = { kind: 'ingest' as const, input: { repository: 'https://example.net/a.git', ref } }
      const reply = await hive.call(contract.submitJob, { token: ada.token, params: { projectId }, body })
      assert.equal(reply.status, 400, ref)
    }
  })
})

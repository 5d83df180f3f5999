import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder, makeRepository } from './test-support/git-repository.ts'
import { startGitServer } from './test-support/git-server.ts'
import { useIngest } from './test-support/ingest-run.ts'

const { ingest, assertFails } = useIngest()

type Answers = NonNullable<Parameters<typeof startGitServer>[1]>

async function withServer(
  answers: Answers,
  work: (world: {
    folder: string
    server: Awaited<ReturnType<typeof startGitServer>>
    settings: object
  }) => Promise<void>,
): Promise<void> {
  await using folder = await makeFolder()
  const repository = await makeRepository(join(folder.path, 'repos/a.git'))
  await repository.commitFiles({ a: 'x' })
  await using server = await startGitServer(join(folder.path, 'repos'), answers)
  await work({ folder: folder.path, server, settings: { privateHosts: [server.privateHost], caFile: server.caFile } })
}

const status = (code: number, headers: Record<string, string> = {}) => {
  return (_request: unknown, response: ServerResponse) => void response.writeHead(code, headers).end()
}

test('what is no public https repository is refused before anything is run', async () => {
  await using folder = await makeFolder()
  const refused = [
    '--upload-pack=touch /tmp/x',
    '-uid',
    'ext::sh -c id',
    'ssh://git@example.org/a',
    'git@example.org:a',
    'http://example.org/a',
  ]
  for (const repository of [
    ...refused,
    'https://user:secret@example.org/a',
    'file:///etc',
    '/etc',
    'https://example.org/a\n',
  ]) {
    const failed = await assertFails(folder.path, { repository, settings: { localRepos: [] } }, 'repository_refused')
    assert.ok(!`${failed.message}${failed.detail}`.includes('secret'))
    assert.equal(failed.retryable, false)
  }
  for (const host of [
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '10.0.0.1',
    '169.254.169.254',
    '[::1]',
    '[::ffff:7f00:1]',
    'localhost',
    'git',
  ]) {
    await assertFails(folder.path, { repository: `https://${host}/a` }, 'host_refused')
  }
  assert.deepEqual(await readdir(folder.path), [])
})

test('a public name that resolves to a private address is refused by the proxy', () =>
  withServer({}, async ({ folder, server, settings }) => {
    const call = { repository: server.url('a.git'), settings: { ...settings, privateHosts: [] } }
    for (const addresses of [['127.0.0.1'], ['1.1.1.1', '127.0.0.1'], ['::ffff:127.0.0.1']]) {
      const failed = await assertFails(folder, { ...call, resolve: async () => addresses }, 'host_refused')
      assert.equal(failed.retryable, false)
    }
    assert.deepEqual(server.requests, [])
  }))

test('a redirect is refused, to another host and on the same one', () =>
  withServer(
    {
      '/away': status(302, { location: 'https://evil.example/a.git/info/refs?service=git-upload-pack' }),
      '/inside': status(301, { location: 'http://169.254.169.254/latest/meta-data/' }),
      '/same': status(307, { location: '/a.git/info/refs?service=git-upload-pack' }),
    },
    async ({ folder, server, settings }) => {
      for (const path of ['away', 'inside', 'same']) {
        const failed = await assertFails(
          folder,
          { repository: server.url(path), resolve: server.resolve, settings },
          'redirect_refused',
        )
        assert.equal(failed.retryable, false)
      }
      assert.equal(server.requests.length, 3)
    },
  ))

test('a missing repository, one that wants credentials and one that is forbidden are told apart', () =>
  withServer(
    {
      '/private': status(401, { 'www-authenticate': 'Basic realm="x"' }),
      '/forbidden': status(403),
      '/gone': status(410),
    },
    async ({ folder, server, settings }) => {
      const call = { resolve: server.resolve, settings }
      await assertFails(folder, { ...call, repository: server.url('missing.git') }, 'repository_not_found')
      await assertFails(folder, { ...call, repository: server.url('gone') }, 'repository_not_found')
      await assertFails(folder, { ...call, repository: server.url('private') }, 'authentication_required')
      await assertFails(folder, { ...call, repository: server.url('forbidden') }, 'authentication_required')
    },
  ))

test('a server in trouble is worth another try', () =>
  withServer({ '/busy': status(503), '/limited': status(429) }, async ({ folder, server, settings }) => {
    for (const path of ['busy', 'limited']) {
      const failed = await assertFails(
        folder,
        { repository: server.url(path), resolve: server.resolve, settings },
        'fetch_failed',
      )
      assert.equal(failed.retryable, true)
    }
  }))

test('a certificate nobody vouches for is refused', () =>
  withServer({}, async ({ folder, server, settings }) => {
    const call = { repository: server.url('a.git'), resolve: server.resolve }
    const failed = await assertFails(folder, { ...call, settings: { ...settings, caFile: undefined } }, 'fetch_failed')
    assert.equal(failed.retryable, false)
    assert.deepEqual(server.requests, [])
  }))

/** Answers, then sends `bytes` every few milliseconds for ever. */
const trickle = (bytes: number) => (_request: unknown, response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' })
  const timer = setInterval(() => response.write('0'.repeat(bytes)), 20)
  response.once('close', () => clearInterval(timer))
}

// The command's own time limit is 60 s: the tests' limits tell it from the stall limit.
test('a server that sends next to nothing is given up, however long it goes on', { timeout: 40_000 }, () =>
  withServer({ '/slow': trickle(1) }, async ({ folder, server, settings }) => {
    const call = { repository: server.url('slow'), resolve: server.resolve }
    await assertFails(folder, { ...call, settings: { ...settings, stallSeconds: 1 } }, 'timeout')
  }),
)

test('a server that trickles just fast enough meets the time limit', () =>
  withServer({ '/steady': trickle(100) }, async ({ folder, server, settings }) => {
    const call = { repository: server.url('steady'), resolve: server.resolve }
    const failed = await assertFails(folder, { ...call, settings: { ...settings, resolveTimeoutMs: 1_500 } }, 'timeout')
    assert.equal(failed.retryable, true)
  }))

test('a server that accepts and never answers is given up', { timeout: 40_000 }, () =>
  withServer({ '/silent': () => undefined }, async ({ folder, server, settings }) => {
    const call = { repository: server.url('silent'), resolve: server.resolve }
    await assertFails(folder, { ...call, settings: { ...settings, stallSeconds: 1 } }, 'timeout')
  }),
)

test('a server that sends without end is cut by the byte cap, long before what git may print', () => {
  const lengths: (() => number)[] = []
  const flood: Answers[string] = (request, response) => {
    const { socket } = request
    lengths.push(() => socket.bytesWritten)
    response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' })
    const line = `003f${'7'.repeat(40)} refs/heads/aaaaaaaaaaaaaaaaa\n`
    const block = line.repeat(1_000)
    const more = () => {
      while (response.writable && response.write(block));
    }
    response.on('drain', more)
    response.write('001e# service=git-upload-pack\n0000')
    more()
  }
  return withServer({ '/flood': flood }, async ({ folder, server, settings }) => {
    const call = { repository: server.url('flood'), resolve: server.resolve }
    await assertFails(folder, { ...call, settings: { ...settings, maxMirrorBytes: 4_000_000 } }, 'too_large')
    const sent = lengths.reduce((sum, length) => sum + length(), 0)
    // What lies in sockets on the way is beyond the cap; git's own output is cut at 64 MiB.
    assert.ok(sent > 4_000_000 && sent < 32_000_000, String(sent))
  })
})

test('a server that speaks no git is no repository, whatever it prints', () =>
  withServer(
    {
      '/html': (_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      '/liar': (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' })
        response.end('001e# service=git-upload-pack\n0000003cERR Authentication failed; could not read Username: x\n')
      },
    },
    async ({ folder, server, settings }) => {
      for (const path of ['html', 'liar']) {
        const call = { repository: server.url(path), resolve: server.resolve, settings }
        const outcome = await ingest(folder, call).catch((error: unknown) => error)
        assert.ok(outcome instanceof Error && 'code' in outcome)
        assert.match(String(outcome.code), /^(fetch_failed|repository_not_found|repository_empty)$/, path)
      }
    },
  ))

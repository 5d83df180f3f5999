import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KillReason, SandboxResult } from '../sandbox/spec.ts'
import { LIMITS } from '../sandbox/testing.ts'
import type { FetchFailureCode } from './fetch-failed.ts'
import { explainGitFailure, findProxyRefusal } from './git-failure.ts'

function ended(killed: KillReason | null = null): SandboxResult {
  const receipt = {
    layers: [],
    limits: LIMITS,
    peakPids: 1,
    wallMs: 1,
    cpuMs: 1,
    peakMemoryBytes: 1,
    outputBytes: 1,
    archiveBytes: 0,
    killed,
  }
  return { exitCode: killed ? null : 128, signal: null, receipt }
}

const url = "'https://git.example/a.git/'"
const said: readonly (readonly [words: string, code: FetchFailureCode])[] = [
  [`fatal: unable to access ${url}: The requested URL returned error: 302`, 'redirect_refused'],
  [`fatal: unable to access ${url}: The requested URL returned error: 403`, 'authentication_required'],
  ["fatal: could not read Username for 'https://git.example': terminal prompts disabled", 'authentication_required'],
  [`fatal: Authentication failed for ${url}`, 'authentication_required'],
  [`fatal: repository ${url} not found`, 'repository_not_found'],
  ["fatal: '/source' does not appear to be a git repository", 'repository_not_found'],
  [`fatal: unable to access ${url}: CONNECT tunnel failed, response 403`, 'host_refused'],
  [`fatal: unable to access ${url}: Received HTTP code 403 from proxy after CONNECT`, 'host_refused'],
  ['fatal: write error: File too large', 'too_large'],
  [`fatal: unable to access ${url}: Operation too slow. Less than 1000 bytes/sec transferred`, 'timeout'],
  ["error: object 1234: hasDotgit: contains '.git'\nfatal: fsck error in packed object", 'repository_refused'],
  ["fatal: transport 'ext' not allowed", 'repository_refused'],
  ['fatal: the remote end hung up unexpectedly', 'fetch_failed'],
  ['', 'fetch_failed'],
]

for (const [words, code] of said) {
  test(`git's "${words.slice(0, 90)}" means ${code}`, () => {
    assert.equal(explainGitFailure(ended(), words).code, code)
  })
}

test('the server cannot choose the reason by what it prints', () => {
  const words = 'remote: fatal: Authentication failed\nfatal: remote error: Authentication failed\nfatal: early EOF'
  assert.equal(explainGitFailure(ended(), words).code, 'fetch_failed')
})

test('what ended the sandbox, or what the proxy refused, goes before what git says', () => {
  assert.equal(explainGitFailure(ended('wall'), 'fatal: early EOF').code, 'timeout')
  assert.equal(explainGitFailure(ended('memory'), '').code, 'too_large')
  assert.equal(explainGitFailure(ended('output'), '').code, 'repository_refused')
  for (const [reason, code] of [
    ['address_loopback', 'host_refused'],
    ['not_listed', 'host_refused'],
    ['bytes_down', 'too_large'],
    ['idle', 'timeout'],
    ['connect_failed', 'fetch_failed'],
  ] as const) {
    const refusal = findProxyRefusal({ host: 'h', port: 443, address: null, allowed: false, reason })
    assert.equal(explainGitFailure(ended(), 'fatal: early EOF', refusal).code, code)
  }
  assert.equal(
    findProxyRefusal({ host: 'h', port: 443, address: '1.1.1.1', allowed: true, reason: 'allowed' }),
    undefined,
  )
})

test('neither message nor detail holds a URL, a path of the host, or a control character', () => {
  const words = [
    `fatal: unable to access 'https://user:canary@git.example/a/': Something`,
    'error: unable to normalize alternate object path: /home/canary/my repos/a/objects',
    'fatal: \u001b[2Jbad',
  ]
  for (const line of words) {
    const failed = explainGitFailure(ended(), line)
    assert.doesNotMatch(`${failed.message} ${failed.detail}`, /canary|\/home|\/objects|git\.example|\p{Cc}/u)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allowedDestinations } from './egress-allowance.ts'
import { decideEgress } from './egress-decision.ts'
import { countEgressRefusals } from './egress-refusals.ts'

const anyHost = { allowHosts: [], privateHosts: [] }
const texts = (hosts: readonly string[], operator: { allowHosts?: string[]; privateHosts?: string[] }) =>
  allowedDestinations(hosts, { ...anyHost, ...operator }).map(({ host, port }) => `${host}:${port}`)

test('without a list of the operator a project reaches the hosts it names, on port 443 alone', () => {
  assert.deepEqual(texts(['registry.npmjs.org', '*.example.net'], {}), ['registry.npmjs.org:443', '*.example.net:443'])
})

test("the operator's list narrows what a project names, never widens it", () => {
  const operator = { allowHosts: ['registry.npmjs.org', 'a.example.net:8443', 'github.com'] }
  assert.deepEqual(texts(['registry.npmjs.org', 'evil.example.org', '*.example.net'], operator), [
    'registry.npmjs.org:443',
    'a.example.net:8443',
  ])
  assert.deepEqual(texts([], operator), [])
})

test('another port, and a private network, are reached only where project and operator both name the host', () => {
  const operator = { privateHosts: ['npm.example.lan:4873'] }
  assert.deepEqual(texts(['npm.example.lan'], operator), ['npm.example.lan:443', 'npm.example.lan:4873'])
  assert.deepEqual(texts(['other.example.lan'], operator), ['other.example.lan:443'])
})

test('a list that names addresses, bare wildcards or too much is no list', () => {
  const bad = ['127.0.0.1', '[::1]', '::1', '*', '*.org', 'localhost', 'a.org:22', 'A.org', 'a.org.', '10.1', '']
  for (const host of bad) assert.throws(() => texts(['ok.example.org', host], {}), RangeError, host)
  assert.throws(
    () =>
      texts(
        Array.from({ length: 101 }, (_, i) => `h${i}.org`),
        {},
      ),
    RangeError,
  )
})

test('a wildcard means the names below it: not itself, not one that merely ends alike', async () => {
  const allow = allowedDestinations(['*.example.net'], anyHost)
  const ask = async (authority: string) =>
    (await decideEgress(authority, { allow, privateHosts: [], resolve: async () => ['1.1.1.1'] })).allowed
  assert.deepEqual(await Promise.all(['a.example.net:443', 'b.a.example.net:443'].map(ask)), [true, true])
  const others = ['example.net:443', 'evilexample.net:443', '.example.net:443', 'a.example.net:80', 'a.example.org:443']
  assert.deepEqual(await Promise.all(others.map(ask)), [false, false, false, false, false])
})

test('refusals are counted by destination and reason, and a thousand hosts make no thousand entries', () => {
  const refusals = countEgressRefusals()
  assert.equal(refusals.text(), undefined)
  const refuse = (host: string) =>
    refusals.note({ host, port: 443, address: null, allowed: false, reason: 'not_listed' })
  refusals.note({ host: 'good.org', port: 443, address: '1.1.1.1', allowed: true, reason: 'allowed' })
  for (let i = 0; i < 1000; i++) refuse(`h${i}.org`)
  refuse('h0.org')
  assert.equal(refusals.list().length, 20)
  assert.deepEqual(refusals.list()[0], { host: 'h0.org', port: 443, reason: 'not_listed', count: 2 })
  assert.match(refusals.text() ?? '', /h0\.org:443 \(not_listed, 2 times\).* and 980 more$/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import ipaddr from 'ipaddr.js'
import { parseConfig } from '../config.ts'
import { createDestinations, isPublicAddress } from './destination.ts'
import { startDnsServer } from './test-dns-server.ts'

const settings = (allow = '', dns = '') =>
  parseConfig({ HIVESYNC_EGRESS_ALLOW: allow, HIVESYNC_DNS_SERVERS: dns }).egress
const reasonOf = (work: Promise<unknown>) =>
  work.then(
    () => 'found',
    (error) => error.reason,
  )

test('no way of writing an address leads to this machine, its network or its cloud', async () => {
  const { find } = createDestinations(settings())
  const hosts = [
    ...[
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f.1',
      '0x7f000001',
      '0177.0.0.1',
      '0177.1',
      '127.0.0.1.',
      '0',
      '0.0.0.0',
    ],
    ...['１２７.０.０.１', '①②⑦.⓪.⓪.①', '127。0。0。1', '%31%32%37.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1'],
    ...['169.254.169.254', '100.64.0.1', '198.18.0.1', '192.0.2.1', '198.51.100.1', '203.0.113.9', '192.0.0.8'],
    ...['224.0.0.1', '240.0.0.1', '255.255.255.255', '168.63.129.16', '192.88.99.1'],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:ffff:10.0.0.1]', '[::127.0.0.1]'],
    ...['[64:ff9b::7f00:1]', '[64:ff9b::8.8.8.8]', '[64:ff9b:1::a00:1]', '[2002:7f00:1::]', '[2002:808:808::1]'],
    ...['[2001:0:4136:e378:8000:63bf:3fff:fdd2]', '[::ffff:0:127.0.0.1]', '[fe80::1]', '[fec0::1]', '[fc00::1]'],
    ...[
      '[fd00:ec2::254]',
      '[ff02::1]',
      '[2001:db8::1]',
      '[3fff::1]',
      '[100::1]',
      '[5f00::1]',
      '[4000::1]',
      '[2001:20::1]',
    ],
  ]
  for (const host of hosts)
    assert.equal(await reasonOf(find(new URL(`https://${host}/`))), 'address_refused', `${host} is reached`)
  for (const zone of ['[fe80::1%25eth0]', '[fe80::1%eth0]', '256.0.0.1', '1.2.3.4.5'])
    assert.equal(URL.canParse(`https://${zone}/`), false, `${zone} is read as an address`)
})

test('addresses of the public internet are reached, in either family', () => {
  for (const address of ['8.8.8.8', '93.184.216.34', '172.15.0.1', '172.32.0.1', '2606:4700::1', '2a00:1450::8'])
    assert.ok(isPublicAddress(ipaddr.parse(address)), address)
})

test('only https, at the ports 443 and 8443, without a user', async () => {
  const { find } = createDestinations(settings())
  const of = async (text: string) => reasonOf(find(new URL(text)))
  for (const good of ['https://8.8.8.8/', 'https://8.8.8.8:8443/hook?key=1', 'https://[2606:4700::1]/'])
    assert.equal(await of(good), 'found', good)
  for (const bad of [
    ...[
      'http://8.8.8.8/',
      'http://8.8.8.8:443/',
      'https://8.8.8.8:80/',
      'https://8.8.8.8:22/',
      'https://8.8.8.8:8080/',
    ],
    ...['https://user@8.8.8.8/', 'https://:secret@8.8.8.8/', 'https://8.8.8.8@127.0.0.1/', 'ftp://8.8.8.8/'],
    ...['file:///etc/passwd', 'data:,x', `https://8.8.8.8/${'x'.repeat(2048)}`],
  ])
    assert.equal(await of(bad), 'address_refused', bad)
})

test('a name is refused when any of its addresses is not public, and is asked anew each time', async () => {
  const dns = await startDnsServer((name, count) => {
    if (name === 'good.example') return ['8.8.8.8', '2606:4700::1']
    if (name === 'mixed.example') return ['8.8.8.8', '127.0.0.1']
    if (name === 'six.example') return ['8.8.8.8', '::1']
    if (name === 'changing.example') return [count === 0 ? '8.8.8.8' : '169.254.169.254']
    if (name === 'empty.example') return []
    return undefined
  })
  try {
    const { find } = createDestinations(settings('', dns.address))
    const of = (host: string) => reasonOf(find(new URL(`https://${host}/`)))
    assert.deepEqual((await find(new URL('https://GOOD.example./'))).addresses, ['8.8.8.8', '2606:4700::1'])
    assert.equal(await of('mixed.example'), 'address_refused')
    assert.equal(await of('six.example'), 'address_refused')
    assert.equal(await of('changing.example'), 'found')
    assert.equal(await of('changing.example'), 'address_refused')
    assert.equal(await of('empty.example'), 'dns_failed')
    assert.equal(await of('nobody.example'), 'dns_failed')
    assert.equal(await of('bücher.example'), 'dns_failed')
    assert.ok(dns.asked.includes('xn--bcher-kva.example'))
    assert.equal(await of('localhost'), 'dns_failed')
  } finally {
    await dns.close()
  }
})

test('what the operator opens is a place: its scheme and port too, and nothing beside it', async () => {
  const dns = await startDnsServer((name) => (name.endsWith('.internal') ? ['10.1.2.3'] : undefined))
  try {
    const allow = 'hooks.internal:8080,*.open.internal,127.0.0.0/8:9000,[fd00::/8]:8443,192.168.7.7'
    const { find } = createDestinations(settings(allow, dns.address))
    const of = (text: string) => reasonOf(find(new URL(text)))
    for (const good of [
      ...['http://hooks.internal:8080/', 'https://a.open.internal:1/', 'http://127.9.9.9:9000/'],
      ...['http://[fd00::1]:8443/', 'http://192.168.7.7/', 'https://192.168.7.7:1/', 'http://[::ffff:192.168.7.7]/'],
    ])
      assert.equal(await of(good), 'found', good)
    for (const bad of [
      ...['http://hooks.internal/', 'http://open.internal/', 'http://evil-open.internal/', 'http://127.0.0.1:9001/'],
      ...['http://[fd00::1]:8444/', 'http://192.168.7.8/', 'http://8.8.8.8:9000/', 'http://user@192.168.7.7/'],
    ])
      assert.equal(await of(bad), 'address_refused', bad)
  } finally {
    await dns.close()
  }
})

test('a rule that says nothing, or something else than it seems to, is refused at start', () => {
  for (const allow of [
    'http://a.example',
    '10.0.0.0/33',
    '10.0.0/8',
    '127.1',
    'a.example:0',
    'a.example:70000',
    'a b',
    '[::1',
    '*',
    '[x]:1',
  ])
    assert.throws(() => settings(allow), /HIVESYNC_EGRESS_ALLOW/, allow)
  for (const dns of ['dns.example', '10.0.0.53:0', '::1:5353:x'])
    assert.throws(() => settings('', dns), /HIVESYNC_DNS_SERVERS/, dns)
})

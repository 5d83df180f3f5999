import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressScope, findCanonicalAddress } from './address-guard.ts'

const refused: Readonly<Record<string, readonly string[]>> = {
  loopback: [
    '127.0.0.1',
    '127.255.255.255',
    '127.1',
    '0x7f.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '0177.0.0.1',
    '::1',
    '0:0:0:0:0:0:0:1',
  ],
  unspecified: ['0.0.0.0', '0', '0.1.2.3', '::'],
  private: [
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '0xc0a80001',
    '3232235521',
    'fc00::1',
    'fdff::1',
    'fec0::1',
  ],
  'link-local': ['169.254.0.1', 'fe80::1', 'febf::1'],
  'cloud-metadata': ['169.254.169.254', '0xa9fea9fe', '2852039166', '168.63.129.16', 'fd00:ec2::254'],
  'carrier-nat': ['100.64.0.1', '100.100.100.200', '100.127.255.255'],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '2001:db8::1', '3fff::1'],
  reserved: [
    '192.0.0.192',
    '192.88.99.1',
    '198.18.0.1',
    '198.19.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '2001:2::1',
    '2001:20::1',
    '100::1',
    '4000::1',
    '5f00::1',
  ],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  'embedded-ipv4': [
    ...['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:8.8.8.8', '::127.0.0.1', '::ffff:0:127.0.0.1'],
    ...['64:ff9b::7f00:1', '64:ff9b:1::a00:1', '2002:7f00:1::', '2001:0:7f00:1::1'],
  ],
  invalid: [
    '',
    'localhost',
    'example.org',
    '1.2.3.4.5',
    '256.1.1.1',
    'fe80::1%eth0',
    '1.2.3.4/8',
    ':::',
    '①.1.1.1',
    'abc',
    '1.2.3.4 ',
  ],
}

for (const [scope, addresses] of Object.entries(refused)) {
  test(`an address is refused as ${scope} in every notation`, () => {
    for (const address of addresses) assert.equal(addressScope(address), scope, address)
  })
}

test('addresses of the public internet pass, up to the edges of the refused ranges', () => {
  const addresses = [
    '1.1.1.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
  ]
  const more = ['128.0.0.0', '169.253.255.255', '172.15.255.255', '172.32.0.0', '192.167.255.255', '223.255.255.255']
  const v6 = ['2606:4700::1111', '2001:200::1', '2400::1', '2003::1', '3ffe:ffff::1']
  for (const address of [...addresses, ...more, ...v6]) assert.equal(addressScope(address), 'public', address)
})

test('two spellings of one address are the same', () => {
  assert.equal(findCanonicalAddress('2606:4700::1111'), findCanonicalAddress('2606:4700:0:0:0:0:0:1111'))
  assert.equal(findCanonicalAddress('1.1.1.1'), findCanonicalAddress('0x01010101'))
  assert.notEqual(findCanonicalAddress('0.0.0.1'), findCanonicalAddress('::1'))
  assert.equal(findCanonicalAddress('not an address'), undefined)
})

import assert from 'node:assert/strict'
import { isIPv4 } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { limitKeyOf, partialAddress } from './client-address.ts'

test('an IPv4 address counts whole and is shown without its last part', () => {
  assert.equal(limitKeyOf('203.0.113.7'), '203.0.113.7')
  assert.equal(partialAddress('203.0.113.7'), '203.0.113.0/24')
})

test('an IPv4 address in IPv6 clothes is that IPv4 address', () => {
  for (const address of ['::ffff:203.0.113.7', '::ffff:cb00:7107', '::FFFF:203.0.113.7']) {
    assert.equal(limitKeyOf(address), '203.0.113.7')
    assert.equal(partialAddress(address), '203.0.113.0/24')
  }
})

test('an IPv6 address counts and is shown as its /64', () => {
  for (const address of ['2001:db8:1:2::1', '2001:0db8:0001:0002:ffff:ffff:ffff:ffff', '2001:DB8:1:2::']) {
    assert.equal(limitKeyOf(address), '2001:db8:1:2::/64')
    assert.equal(partialAddress(address), '2001:db8:1:2::/64')
  }
  assert.equal(limitKeyOf('fe80::1%eth0'), limitKeyOf('fe80::2'))
})

test('every IPv6 address of one /64 counts as one, of two as two, and the whole address is never shown', () => {
  const group = fc.integer({ min: 1, max: 0xffff }).map((n) => n.toString(16))
  const half = fc.array(group, { minLength: 4, maxLength: 4 }).map((groups) => groups.join(':'))
  fc.assert(
    fc.property(half, half, half, half, (network, other, one, two) => {
      assert.equal(limitKeyOf(`${network}:${one}`), limitKeyOf(`${network}:${two}`))
      if (network !== other) assert.notEqual(limitKeyOf(`${network}:${one}`), limitKeyOf(`${other}:${one}`))
      assert.ok(!partialAddress(`${network}:${one}`).includes(one) || network.includes(one))
    }),
  )
})

test('any other text is one key, and no fault', () => {
  for (const text of ['', 'unknown', '1.2.3.4:80', '[::1]', ':::', 'fe80::%', '\0', '999.1.1.1']) {
    assert.equal(limitKeyOf(text), 'unknown', text)
    assert.equal(partialAddress(text), 'unknown', text)
  }
  fc.assert(fc.property(fc.string(), (text) => isIPv4(limitKeyOf(text)) || /^(unknown|.*\/64)$/.test(limitKeyOf(text))))
})

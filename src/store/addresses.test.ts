import assert from 'node:assert/strict'
import { BlockList, isIP } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { addressValue, firstOf, parseNetwork } from './addresses.ts'

const textOf = (text: string): string => {
  const network = parseNetwork(text)
  return typeof network === 'string' ? `wrong: ${network}` : network.text
}

describe('an address', () => {
  for (const [shown, forms] of [
    [
      '2001:db8::1',
      ['2001:DB8::1', '2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8:0:0::1', '2001:db8::1/128'],
    ],
    ['192.0.2.7', ['192.0.2.7/32', '::ffff:192.0.2.7', '::FFFF:c000:207', '::ffff:192.0.2.7/128']],
    ['192.0.2.0/24', ['192.0.2.77/24', '::ffff:192.0.2.1/120']],
    ['2001:db8::/32', ['2001:db8:ffff::/32', '2001:0DB8::1/32']],
    ['::1', ['0:0:0:0:0:0:0:1', '::0001']],
  ] as const) {
    test(`is ${shown} in each of its forms`, () => {
      for (const form of [shown, ...forms]) assert.equal(textOf(form), shown, form)
    })
  }

  for (const text of [
    '',
    'x',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.4/',
    '1.2.3.4/33',
    '::1/129',
    '::1/-1',
    '1.2.3.4/8/8',
    ' 1.2.3.4',
    '1.2.3.4/ 8',
    '0x7f.1',
    '2130706433',
    'fe80::1%eth0',
    '[::1]',
    '::1]',
    '1.2.3.4/1e1',
    '1::2::3',
    '0.0.0.0/0',
    '10.0.0.0/7',
    '::/0',
    '::/32',
    '::ffff:0:0/96',
    '::ffff:0:0/100',
    '2000::/3',
    '1.2.3.4\n',
  ]) {
    test(`is none, or too much: ${JSON.stringify(text)}`, () =>
      assert.equal(typeof parseNetwork(text), 'string'))
  }

  test('is in a network exactly where Node’s own list says so', () => {
    const pairs = fc.tuple(fc.ipV6(), fc.ipV6(), fc.integer({ min: 97, max: 128 }), fc.boolean())
    fc.assert(
      fc.property(pairs, ([network, other, bits, near]) => {
        const parsed = parseNetwork(`${network}/${bits}`)
        if (typeof parsed === 'string' || parsed.text.includes('.')) return
        // Two at random are never neighbours
        const address = near ? `${network.replace(/[0-9a-f]$/i, '')}7` : other
        if (isIP(address) !== 6) return
        const list = new BlockList()
        list.addSubnet(network, bits, 'ipv6')
        assert.equal(firstOf(addressValue(address)!, bits) === parsed.first, list.check(address, 'ipv6'))
      }),
    )
  })

  test('of IPv4 is in a network exactly where Node’s own list says so', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 8, max: 32 }), (network, other, prefix) => {
        const list = new BlockList()
        list.addSubnet(network, prefix, 'ipv4')
        const parsed = parseNetwork(`${network}/${prefix}`)
        assert.ok(typeof parsed !== 'string')
        for (const address of [network, other, network.replace(/\d+$/, '9')]) {
          assert.equal(firstOf(addressValue(address)!, parsed.bits) === parsed.first, list.check(address))
        }
      }),
    )
  })

  test('that is none has no value', () => assert.equal(addressValue('unknown'), null))
})
